"""CLIP and DINO of random weights in the published layouts, against transformers' own reading and torchmetrics."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from random_vision import write_clip, write_dino, write_dinov2
from safetensors.torch import load_file, save_file

from vcd_core.metrics import FaceEmbedder, load_clip, load_dino, text_similarity
from vcd_core.standalone.tokenizer import clip_tokenizer
from vcd_core.vision import Face

pytestmark = pytest.mark.usefixtures("one_thread")

WRITE = {"clip": lambda folder: write_clip(folder, clip_tokenizer()), "dino": write_dino, "dinov2": write_dinov2}
LOAD = {"clip": load_clip, "dino": load_dino, "dinov2": load_dino}
every_kind = pytest.mark.parametrize("kind", WRITE)
PROMPT = "a photo of a woman on a beach"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {kind: write(root / f"tiny-{kind}") for kind, write in WRITE.items()}


def pictures(*sizes):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(*size, 3, generator=generator) for size in sizes]


def as_files(images):
    return [Image.fromarray((image * 255).round().byte().numpy()) for image in images]


SIZES = [(64, 64), (30, 90), (3, 40), (200, 131), (1, 1)]


def test_clip_sees_and_reads_as_transformers_own_pipeline_does(folders):
    """With the processor of the model's folder, one picture at a time, from picture files."""
    from transformers import CLIPModel, CLIPProcessor

    images = pictures(*SIZES)
    network = CLIPModel.from_pretrained(folders["clip"]).eval()
    processor = CLIPProcessor.from_pretrained(folders["clip"], use_fast=False)
    clip = load_clip(folders["clip"])
    rows = []
    for picture in as_files(images[:2] + images[3:4]):  # such as nobody takes for channels first
        with torch.no_grad():
            seen = network(**processor(text=[PROMPT], images=picture, return_tensors="pt"))
        rows.append(seen.image_embeds[0])
    found = torch.nn.functional.normalize(clip.embed_images(images), dim=1)
    assert found.shape == (len(SIZES), 24)
    torch.testing.assert_close(found[[0, 1, 3]], torch.stack(rows), atol=1e-5, rtol=1e-4)
    text = torch.nn.functional.normalize(clip.embed_text(PROMPT), dim=0)
    torch.testing.assert_close(text, seen.text_embeds[0], atol=1e-5, rtol=1e-4)


def test_a_picture_three_pixels_high_is_not_taken_for_one_with_channels_first(folders):
    """It is enlarged to the network's size: one that has been already, by Pillow, is seen as the same."""
    (image,) = pictures((3, 40))
    (file,) = as_files([image])
    large = file.resize((64 * 40 // 3, 64), Image.Resampling.BICUBIC)
    small, enlarged = load_clip(folders["clip"]).embed_images([image, torch.from_numpy(np.array(large)) / 255])
    torch.testing.assert_close(small, enlarged, atol=1e-5, rtol=1e-4)


def test_clip_t_is_torchmetrics_clip_score(tmp_path):
    """Which shows nothing below 0; these weights are such that some are above it and some below."""
    from torchmetrics.functional.multimodal import clip_score
    from transformers import CLIPModel, CLIPProcessor

    folder = write_clip(tmp_path / "clip", clip_tokenizer(), seed=4)
    network, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder, use_fast=False)
    clip = load_clip(folder)
    scores = []
    for image, prompt in zip(pictures((64, 64), (90, 70), (64, 128)), (PROMPT, "a cat", "a red car"), strict=True):
        pixels = (image * 255).round().byte().movedim(-1, 0)
        expected = clip_score(pixels, prompt, lambda: (network, processor)).item()
        scores.append(100 * text_similarity(clip.embed_images([image]), clip.embed_text(prompt)).item())
        assert max(scores[-1], 0) == pytest.approx(expected, abs=1e-3)
    assert min(scores) < -1 < 1 < max(scores)


def test_dino_is_the_class_token_after_the_last_norm(folders):
    """Of a picture that needs no resizing, computed from the pixels and transformers' hidden states."""
    (image,) = pictures((48, 48))
    dino = load_dino(folders["dino"])
    written = json.loads((folders["dino"] / "preprocessor_config.json").read_text())
    pixels = (image * 255).round() / 255
    pixels = (pixels - torch.tensor(written["image_mean"])) / torch.tensor(written["image_std"])
    with torch.no_grad():
        hidden = dino.network(pixels.movedim(-1, 0)[None], output_hidden_states=True).hidden_states[-1]
        expected = dino.network.layernorm(hidden)[:, 0]
    torch.testing.assert_close(dino.embed_images([image]), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["dino", "dinov2"])
def test_dino_sees_pictures_as_its_own_processor_does(folders, kind):
    from transformers import AutoImageProcessor, AutoModel

    images = pictures(SIZES[0], SIZES[1], SIZES[3])
    processor = AutoImageProcessor.from_pretrained(folders[kind], use_fast=False)
    network = AutoModel.from_pretrained(folders[kind]).eval()
    with torch.no_grad():
        seen = [
            network(**processor(picture, return_tensors="pt")).last_hidden_state[0, 0] for picture in as_files(images)
        ]
    torch.testing.assert_close(load_dino(folders[kind]).embed_images(images), torch.stack(seen), atol=1e-5, rtol=1e-4)


@every_kind
def test_pictures_do_not_depend_on_those_beside_them(folders, kind):
    """More than a batch of them, of all sizes."""
    embedder = LOAD[kind](folders[kind])
    images = pictures(*SIZES) * 4
    together = embedder.embed_images(images)
    torch.testing.assert_close(together[:5], together[15:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[3:4], embedder.embed_images(images[3:4]), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


@every_kind
def test_features_are_the_same_on_any_number_of_threads(folders, kind):
    network, images = LOAD[kind](folders[kind]), pictures(*SIZES, *SIZES)
    alone = network.embed_images(images)
    torch.set_num_threads(4)
    torch.testing.assert_close(network.embed_images(images), alone, atol=1e-6, rtol=1e-5)


def test_a_processor_that_leaves_pictures_at_their_sizes_is_named(folders, tmp_path):
    folder = shutil.copytree(folders["clip"], tmp_path / "uncut")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"do_center_crop": False}))
    with pytest.raises(ValueError, match=r"uncut .* leaves pictures at several sizes: .*do_center_crop"):
        load_clip(folder).embed_images(pictures((64, 64), (30, 90)))


@every_kind
def test_a_backbone_is_named_by_its_folder_and_its_size(folders, kind):
    name = LOAD[kind](folders[kind]).name
    assert name.startswith(f"tiny-{kind} (2 layers of 32, patches of 1")


def test_a_prompt_that_is_too_long_is_refused(folders):
    clip = load_clip(folders["clip"])
    clip.embed_text("dance " * 75)
    with pytest.raises(ValueError, match="the prompt has 82 tokens, tiny-clip .* takes 77: shorten it"):
        clip.embed_text("dance " * 80)


def test_a_hugging_face_id_is_looked_up_in_the_users_own_cache(folders, tmp_path, monkeypatch):
    for kind in ("clip", "dino"):
        cache = tmp_path / f"models--someone--{kind}"
        (cache / "snapshots").mkdir(parents=True)
        (cache / "refs").mkdir()
        (cache / "refs" / "main").write_text("0123abcd")
        (cache / "snapshots" / "0123abcd").symlink_to(folders[kind])
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub._is_offline_mode", True)
    assert load_clip("someone/clip").name.startswith("someone/clip (")
    assert load_dino("someone/dino").name.startswith("someone/dino (")
    cure = r"check the id and the connection, or give a folder with config\.json"
    with pytest.raises(ValueError, match=f"CLIP could not be loaded from someone/else.*{cure}"):
        load_clip("someone/else")
    with pytest.raises(ValueError, match="from someone/dino: .* of the kind 'vit', not clip; take a CLIP") as error:
        load_clip("someone/dino")
    assert "connection" not in str(error.value)


def without(name):
    return lambda folder: (folder / name).unlink()


def damaged(name):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def without_a_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def another_kind(folder):
    (folder / "config.json").write_text('{"model_type": "bert"}')


BAD = {
    "no config": ("clip", without("config.json"), r"there is no config\.json in the CLIP folder .*tiny.*: it needs"),
    "no weights": ("clip", without("model.safetensors"), r"no model\.safetensors or pytorch_model\.bin in the CLIP"),
    "no old weights": (
        "dino",
        without("pytorch_model.bin"),
        r"no model\.safetensors or pytorch_model\.bin in the",
    ),
    "no processor": ("dinov2", without("preprocessor_config.json"), r"no preprocessor_config\.json in the DINO"),
    "damaged": ("clip", damaged("model.safetensors"), "CLIP could not be loaded from .*tiny.* download them again"),
    "damaged old": ("dino", damaged("pytorch_model.bin"), "DINO could not be loaded from .*tiny.* download them again"),
    "text": ("dino", lambda folder: (folder / "pytorch_model.bin").write_text("no model"), "download them again"),
    "another model": ("clip", another_kind, "of the kind 'bert', not clip"),
    "no kind": ("clip", lambda folder: (folder / "config.json").write_text("[]"), "download them again"),
    "a weight less": ("clip", without_a_weight, "its weights lack 1 of CLIP's, such as visual_projection.weight"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_folder_is_named(fault, folders, tmp_path):
    kind, damage, message = BAD[fault]
    shutil.copytree(folders[kind], tmp_path / "tiny")
    damage(tmp_path / "tiny")
    with pytest.raises(ValueError, match=message):
        LOAD[kind](tmp_path / "tiny")


def test_a_folder_of_the_other_network_is_refused(folders, tmp_path):
    with pytest.raises(ValueError, match="'vit', not clip; take a CLIP, such as openai/clip-vit-base-patch32"):
        load_clip(folders["dino"])
    not_dino = "DINO could not be loaded from .* 'clip', not dinov2 or .* or vit; take a DINO, such as facebook/dino"
    with pytest.raises(ValueError, match=not_dino) as error:
        load_dino(folders["clip"])
    assert "download" not in str(error.value)
    with pytest.raises(ValueError, match="there is no CLIP folder .*absent: create it with config.json"):
        load_clip(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"'\.\./x' is no Hugging Face id: .* such as facebook/dino-vits16"):
        load_dino("../x")


def test_weights_that_would_run_code_are_refused(folders, tmp_path):
    """`numpy.core` objects stand for anything that a pickle could call."""
    shutil.copytree(folders["dino"], tmp_path / "tiny")
    torch.save({"embeddings.cls_token": np.zeros(3), "x": print}, tmp_path / "tiny" / "pytorch_model.bin")
    with pytest.raises(ValueError, match="DINO could not be loaded"):
        load_dino(tmp_path / "tiny")


class Corners:
    """Finds a face for each corner that is white, the larger the brighter blue is; it is told by its red."""

    def detect(self, images):
        (image,) = images
        faces = []
        for corner, side in ((image[:, 0, 0], 4.0), (image[:, -1, -1], 6.0)):
            if corner[1] > 0:
                embedding = torch.tensor([corner[0], 1 - corner[0]])
                faces.append(Face((1.0, 1.0, 1.0 + side, 1.0 + side), 10 / side, embedding=embedding))
        return [faces]


def test_the_largest_face_counts_and_none_is_not_a_number():
    small, both, nobody = torch.zeros(3, 8, 8, 3)
    small[0, 0] = both[0, 0] = torch.tensor([0.25, 1.0, 0.0])
    both[-1, -1] = torch.tensor([0.75, 1.0, 0.0])
    embedder = FaceEmbedder(Corners(), "corners")
    found = embedder.embed_images([small, nobody, both])
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75], [torch.nan] * 2, [0.75, 0.25]]), equal_nan=True)
    assert embedder.embed_images([nobody, nobody]).isnan().tolist() == [[True], [True]]


def test_a_detector_that_recognises_nobody_is_named():
    class Boxes:
        def detect(self, images):
            return [[Face((0.0, 0.0, 2.0, 2.0), 0.9)]]

    with pytest.raises(ValueError, match="does not recognise people: take insightface"):
        FaceEmbedder(Boxes(), "boxes").embed_images([torch.zeros(8, 8, 3)])
