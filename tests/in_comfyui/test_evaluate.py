"""The node that measures clips, with CLIP, DINO and ComfyUI's CLIP_VISION of random weights."""

import json
import shutil
from pathlib import Path

import comfy.clip_vision
import folder_paths
import pytest
import torch
from comfy import model_management
from comfy.sd1_clip import SDTokenizer
from random_vision import write_clip, write_dino
from safetensors.torch import load_file
from vcd_pack.nodes.evaluate import EvaluateVideo
from vcd_pack.nodes.host import evaluation
from vcd_pack.vcd_core.identity import Photo
from vcd_pack.vcd_core.metrics import load_clip, load_dino, reference_similarity, text_similarity
from vcd_pack.vcd_core.standalone.prompts import without_tokens
from vcd_pack.vcd_core.standalone.tokenizer import clip_tokenizer
from vcd_pack.vcd_core.vision import Face

CLIP, DINO = "owner/tiny-clip", "tiny-dino"


@pytest.fixture(scope="module")
def root():
    root = Path(folder_paths.models_dir) / "clip_vision"
    EvaluateVideo.define_schema()
    with torch.inference_mode(False):
        write_clip(root / CLIP, clip_tokenizer())
        write_dino(root / DINO)
    return root


def photos():
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(40, 50)
    mask[10:30, 10:30] = 1
    return [Photo(str(number), torch.rand(40, 50, 3, generator=generator), mask) for number in range(3)]


def clip():
    return torch.rand(18, 48, 64, 3, generator=torch.Generator().manual_seed(0))


def evaluate(**inputs):
    with torch.inference_mode():
        output = EvaluateVideo.execute(
            **{"clip": clip(), "clip_model": CLIP, "dino_model": DINO, "prompt": ""} | inputs
        )
    report, scores = output.result
    assert output.ui["text"] == (report,)
    told = json.loads(scores)
    assert report.startswith("clip: ")
    return {score["name"]: score for score in told["clips"][0]["scores"]}


def test_a_clip_gets_the_scores_of_the_library(root):
    scores = evaluate(photos=photos(), prompt="a photo of (embedding:ava woman:1.2)")
    images = [photo.image for photo in photos()]
    frames = list(clip())
    for name, network in (("CLIP-I", load_clip(root / CLIP)), ("DINO", load_dino(root / DINO))):
        expected = reference_similarity(network.embed_images(frames), network.embed_images(images))
        assert scores[name]["values"] == pytest.approx(expected.tolist(), abs=1e-4)
        assert scores[name]["backbone"] == network.name
    network = load_clip(root / CLIP)
    expected = text_similarity(network.embed_images(frames), network.embed_text("a photo of woman"))
    assert scores["CLIP-T"]["values"] == pytest.approx(expected.tolist(), abs=1e-4)
    assert len(scores["flicker"]["values"]) == 17
    assert scores["face similarity"]["missing"].startswith("nothing that recognises faces was given")


def test_images_are_references_too_and_lose_their_alpha(root):
    images = torch.stack([torch.cat([photo.image, photo.mask[..., None]], -1) for photo in photos()])
    assert evaluate(references=images)["CLIP-I"] == evaluate(photos=photos())["CLIP-I"]
    both = evaluate(references=images[:1], photos=photos()[1:])
    assert both["DINO"]["mean"] == pytest.approx(evaluate(photos=photos())["DINO"]["mean"])


def test_masks_tell_what_leaks(root):
    masks = torch.zeros(18, 48, 64)
    masks[:, 8:40, 8:40] = 1
    given = {"photos": photos(), "unrelated": torch.zeros(2, 30, 30, 4)}
    for one in (masks, masks[:1]):
        scores = evaluate(**given, masks=one)
        assert len(scores["background leakage"]["values"]) == 18
    empty = evaluate(**given, masks=torch.zeros(1, 64, 64))  # what ComfyUI's loader gives for a picture without one
    assert empty["background leakage"]["missing"].startswith("the clip has no masks of its subject")
    with pytest.raises(ValueError, match="the mask of frame 2 does not fit, there is none"):
        evaluate(**given, masks=masks[:2])
    with pytest.raises(ValueError, match="there are more masks than frames"):
        evaluate(**given, masks=masks, clip=clip()[:3])


def clip_vision(root):
    """ComfyUI's reading of CLIP's part that sees, cut down: its own configuration names the published sizes."""
    tensors = {
        name: tensor for name, tensor in load_file(root / CLIP / "model.safetensors").items() if "text" not in name
    }
    config = json.loads((root / CLIP / "config.json").read_text())
    settings = {**config["vision_config"], "projection_dim": config["projection_dim"]}
    path = root / "tiny-vision.json"
    path.write_text(json.dumps(settings))
    with torch.inference_mode(False):
        vision = comfy.clip_vision.ClipVisionModel(str(path))
        missing, _ = vision.load_sd(tensors)
    path.unlink()
    assert not missing
    return vision


def test_comfyuis_clip_vision_scores_as_the_whole_clip_does(root):
    """Both resize antialiased, to the middle square, one by Pillow and one by torch."""
    vision = clip_vision(root)
    square = clip()[:, :, :48]
    scores = evaluate(clip=square, clip_vision=vision, photos=photos(), prompt="a woman")
    whole = evaluate(clip=square, photos=photos(), prompt="a woman")
    assert scores["CLIP-I"]["values"] == pytest.approx(whole["CLIP-I"]["values"], abs=0.02)
    assert scores["CLIP-I"]["backbone"] == "CLIP_VISION (2 layers of 32, pictures of 64)"
    assert scores["CLIP-T"]["missing"].startswith("CLIP_VISION (2 layers of 32, pictures of 64) knows no words")
    vision.model = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match="clip_vision is a Linear and no CLIP"):
        evaluate(clip_vision=vision)


class OneFace:
    name = "insightface buffalo_l"

    def detect(self, images):
        return [[Face((0.0, 0.0, 4.0, 4.0), 0.9, embedding=torch.tensor([0.6, 0.8]))] for _ in images]


def test_faces_are_compared_by_a_detector_that_recognises_people(root):
    face = evaluate(photos=photos(), face_detector=OneFace())["face similarity"]
    assert face["mean"] == pytest.approx(1)
    assert face["backbone"] == "insightface buffalo_l"


class OneBox(OneFace):
    name = "CenterFace"

    def detect(self, images):
        return [[Face((0.0, 0.0, 4.0, 4.0), 0.9)] for _ in images]


def test_what_cannot_be_measured_leaves_the_rest_standing(root):
    scores = evaluate(photos=photos(), face_detector=OneBox(), prompt="dance " * 80)
    assert scores["face similarity"]["missing"].startswith("the face detector does not recognise people")
    assert scores["CLIP-T"]["missing"].startswith("the prompt has 82 tokens")
    assert "mean" in scores["CLIP-I"]


@pytest.mark.parametrize(
    "prompt",
    [
        "(embedding:ava woman:1.2) on a beach",
        "a photo of (embedding:ava:1.3) woman ()",
        "((smiling:1.3) woman:-0.8), (red (silk) dress), (at 7:30), (:1.5) (a:b)",
        r"a woman \(old\) (\(young\):1.1) [red:1.2]",
        "wom(en:1.2) (red)(hair)",
        "(not (closed",  # as it stands
        "not opened) (at:2) all)",
        "(half (closed:1.2)",
    ],
)
def test_a_prompt_keeps_the_words_that_comfyui_reads(prompt, tmp_path):
    """ComfyUI leaves out an embedding that it does not find."""
    reader = SDTokenizer(embedding_directory=str(tmp_path))
    read = [token for part in reader.tokenize_with_weights(prompt) for token, _ in part]
    kept = reader.tokenizer(without_tokens(prompt))["input_ids"]
    assert read == kept + [kept[-1]] * (len(read) - len(kept))


def test_networks_are_loaded_once_and_read_again_when_their_files_changed(root, monkeypatch):
    loaded = []
    monkeypatch.setattr(evaluation, "load_dino", lambda source: loaded.append(source) or load_dino(source))
    evaluation._dino.cache_clear()
    for _ in range(2):
        evaluate(clip_model="(none)", photos=photos())
    assert loaded == [root / DINO]
    (root / DINO / "preprocessor_config.json").touch()
    evaluate(clip_model="(none)", photos=photos())
    assert len(loaded) == 2
    network = evaluation.dino_of(root / DINO).network
    assert next(network.parameters()).device == model_management.unet_offload_device()


def test_nothing_but_a_clip_has_motion_and_the_rest_is_named(root):
    scores = evaluate(clip_model="(none)", dino_model="(none)")
    assert {name for name, score in scores.items() if "missing" not in score} == {"motion amplitude", "flicker"}
    still = evaluate(clip=clip()[:1], photos=photos())
    assert still["temporal, CLIP"]["missing"] == "the clip has one frame, and this compares neighbouring ones"


def test_a_hugging_face_id_takes_the_folder_s_place(root, monkeypatch):
    monkeypatch.setattr(evaluation, "load_clip", lambda source: load_clip(root / CLIP if source == "a/clip" else None))
    assert "mean" in evaluate(clip_model="(none)", clip_hugging_face_id=" a/clip ", photos=photos())["CLIP-I"]


def test_missing_folders_say_where_they_belong(root):
    shutil.copytree(root / DINO, root / "unreadable", dirs_exist_ok=True)
    (root / "unreadable" / "config.json").write_text("{")
    choices = EvaluateVideo.define_schema().inputs
    assert choices[1].options == [CLIP, "unreadable", "(none)"]
    assert choices[2].options == [DINO, "unreadable", "(none)"]
    shutil.rmtree(root / "unreadable")

    def check(**inputs):
        return EvaluateVideo.validate_inputs(**{"clip_model": CLIP, "dino_model": DINO, **inputs})

    assert check() is True
    assert check(clip_model=None, dino_model="(none)") is True
    assert check(clip_model="absent", clip_hugging_face_id="openai/clip-vit-base-patch32") is True
    for wrong, of in (({"clip_model": DINO}, "openai/clip-vit-base-patch32"), ({"dino_model": ".."}, "facebook/dino")):
        message = check(**wrong)
        assert str(root) in message
        assert of in message
        with pytest.raises(ValueError, match="there is no (CLIP|DINO) folder"):
            evaluate(**wrong)
