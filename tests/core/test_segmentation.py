"""From a prompt to masks: known answers, random weights in the published layouts, and what goes wrong."""

import math
import pickle
import shutil
import sys
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from random_segmenters import WORDS, random_sam, write_grounding_dino
from safetensors.torch import load_file, save_file
from torch import nn

from demo import world
from vcd_core.identity import Photo, load_photos, segment_photos
from vcd_core.vision import (
    Finding,
    GroundingDino,
    NoSubject,
    PromptSegmenter,
    Sam,
    Segmentation,
    SeveralSubjects,
    draw_findings,
    load_grounding_dino,
    load_sam,
)

# --- known answers: people of the demo world, each filled with one colour that the stand-ins for the networks see.

PAINT = {"big": (1.0, 0.0, 1.0), "small": (0.0, 1.0, 1.0)}
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[:, :, None, None]
TOLERANCE = 2  # pixels of a picture of 256, through the networks' grids


def painted(images, mean, std):
    """Where each colour is in a normalised batch (1, 3, H, W): name -> (H, W)."""
    rgb = (images * std + mean)[0]
    return {name: ((rgb - torch.tensor(colour)[:, None, None]).abs() < 0.1).all(0) for name, colour in PAINT.items()}


def box_of(mask):
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    return columns.min().item(), rows.min().item(), columns.max().item() + 1, rows.max().item() + 1


class SeesPaint(nn.Module):
    """In GroundingDINO's place: gives each painted person the scores of the prompt's words, once more a little off."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores  # name -> {word of the prompt: score}
        self.device, self.config = torch.device("cpu"), SimpleNamespace(max_text_len=256)

    def forward(self, pixel_values, input_ids, **_):
        height, width = pixel_values.shape[-2:]
        logits, boxes = [], []
        for name, mask in painted(pixel_values, *IMAGENET).items():
            if name not in self.scores or not mask.any():
                continue
            x0, y0, x1, y1 = box_of(mask)
            box = torch.tensor([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height])
            for part in (0.9, 1.0):  # the better one last
                row = torch.full((256,), -math.inf)
                for word, score in self.scores[name].items():
                    row[input_ids[0].tolist().index(WORDS.index(word))] = torch.tensor(score * part).logit()
                logits.append(row)
                boxes.append(box * torch.tensor([1, 1, part, part]))
        rows, corners = (torch.stack(rows) if rows else torch.zeros(0, 256) for rows in (logits, boxes))
        return SimpleNamespace(logits=rows[None], pred_boxes=corners[None, :, :4])


class Tokenizer:
    all_special_ids = [2, 3]

    def __call__(self, text, return_tensors):
        assert text == text.lower()
        assert text.endswith(".")
        ids = [2, *(WORDS.index(word) for word in text.replace(".", " .").split()), 3]
        return Inputs(input_ids=torch.tensor([ids]))

    def convert_tokens_to_ids(self, tokens):
        return [WORDS.index(token) for token in tokens]

    def decode(self, ids):
        return " ".join(WORDS[index] for index in ids)


class Inputs(dict):
    def to(self, _device):
        return self


@pytest.fixture(scope="module")
def image_processor():
    from transformers import GroundingDinoImageProcessor

    return GroundingDinoImageProcessor(size={"shortest_edge": 240, "longest_edge": 400})


class Encoder(nn.Module):
    img_size = 1024

    def forward(self, images):
        mean, std = (
            torch.tensor(value)[:, None, None] for value in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
        )
        return torch.stack(list(painted(images, mean / 255, std / 255).values())).any(0)[None, None].float()


class Prompts(nn.Module):
    def forward(self, points, boxes, masks):
        return boxes, None

    def get_dense_pe(self):
        return None


class Decoder(nn.Module):
    def forward(self, image_embeddings, sparse_prompt_embeddings, multimask_output, **_):
        assert not multimask_output
        x0, y0, x1, y1 = (sparse_prompt_embeddings.flatten() / 4).round().int().tolist()
        inside = torch.zeros(1, 1, 256, 256)
        inside[..., y0:y1, x0:x1] = 1
        return (nn.functional.avg_pool2d(image_embeddings, 4) * inside - 0.5) * 20, torch.ones(1, 1)


@pytest.fixture
def segmenter(image_processor):
    """A PromptSegmenter on the stand-ins; only the networks themselves are replaced."""
    from segment_anything.modeling import Sam as Network

    def make(scores=None, **options):
        scores = scores or {"big": {"person": 0.5}, "small": {"person": 0.8}}
        processor = SimpleNamespace(image_processor=image_processor, tokenizer=Tokenizer())
        masker = Sam(Network(Encoder(), Prompts(), Decoder()))
        return PromptSegmenter(GroundingDino(SeesPaint(scores), processor), masker, **options)

    return make


def people(names=("big", "small"), crop=(slice(None), slice(None))):
    """An image (H, W, 3) with these people and their masks {name: (H, W)}."""
    rng = np.random.default_rng(5)
    full, far = (world.random_shot(rng, "in a flower meadow", framing) for framing in ("full", "far"))
    shots = {"big": replace(full, x=0.28, y=0.35), "small": replace(far, x=0.75, y=0.45)}
    renders = world.render_group([(world.random_look(rng, "woman"), shots[name]) for name in names], size=256)
    image = torch.from_numpy(renders[0].image / 255).float()
    masks = {}
    for name, render in zip(names, renders, strict=True):
        masks[name] = torch.from_numpy(render.mask > 127)
        image[masks[name]] = torch.tensor(PAINT[name])
    return image[crop].contiguous(), {name: mask[crop] for name, mask in masks.items()}


def check(result, mask):
    """The result's mask and box are those of the person."""
    assert result.mask.shape == mask.shape
    assert set(result.mask.unique().tolist()) == {0, 1}
    overlap = (result.mask.bool() & mask).sum() / (result.mask.bool() | mask).sum()
    assert overlap > 0.93
    assert result.chosen.box == pytest.approx(box_of(mask), abs=TOLERANCE)


SHAPES = {
    "square": (slice(None), slice(None)),
    "wide": (slice(0, 200), slice(None)),
    "tall": (slice(None), slice(0, 140)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_mask_and_box_lie_on_the_person_in_pictures_of_every_shape(segmenter, shape):
    image, masks = people(("big",), SHAPES[shape])
    result = segmenter().segment(image, "Person")
    check(result, masks["big"])
    assert result.found == (result.chosen,)  # found twice, counted once, the better box kept
    assert result.chosen.score == pytest.approx(0.5)
    assert result.chosen.words == "person"


def test_the_choice_is_by_score_or_by_size_and_never_by_order(segmenter):
    image, masks = people()
    best = segmenter().segment(image, "person")
    check(best, masks["small"])
    assert [finding.score for finding in best.found] == pytest.approx([0.8, 0.5])
    check(segmenter(choice="largest").segment(image, "person"), masks["big"])
    with pytest.raises(SeveralSubjects, match="2 subjects look like 'person'") as error:
        segmenter(choice="refuse if several").segment(image, "person")
    assert error.value.found == best.found
    torch.testing.assert_close(error.value.picture, draw_findings(image, best.found))
    check(segmenter(choice="refuse if several").segment(*people(("big",))[:1], "person"), people(("big",))[1]["big"])


def test_what_scores_less_than_the_thresholds_is_not_there(segmenter):
    image, masks = people()
    check(segmenter(box_threshold=0.79).segment(image, "person"), masks["small"])
    refusing = segmenter(choice="refuse if several", box_threshold=0.51)
    assert len(refusing.segment(image, "person").found) == 1
    with pytest.raises(NoSubject, match=r"nothing in it looks like 'person' with a score of 0\.81"):
        segmenter(box_threshold=0.81).segment(image, "person")


def test_a_box_is_of_words_that_score_enough(segmenter):
    image, masks = people()
    scores = {"big": {"cat": 0.6, "red": 0.2}, "small": {".": 0.9, "cat": 0.1}}
    result = segmenter(scores).segment(image, "red cat")
    check(result, masks["big"])
    assert [finding.words for finding in result.found] == ["cat"]
    result = segmenter(scores, text_threshold=0.19).segment(image, "red cat")
    assert [finding.words for finding in result.found] == ["red cat"]
    result = segmenter(scores, text_threshold=0.05).segment(image, "red cat")
    assert [finding.words for finding in result.found] == ["cat", "red cat"]


def test_a_rotated_grey_photo_goes_in_as_a_person_sees_it(segmenter, tmp_path):
    image, masks = people(("big",), SHAPES["wide"])
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = np.rot90((image.numpy() * 255).round().astype(np.uint8)).copy()
    Image.fromarray(stored).save(tmp_path / "turned.png", exif=exif)
    Image.fromarray(stored[:, :, 0]).save(tmp_path / "grey.png")
    grey, turned = segment_photos(load_photos(tmp_path), segmenter(), "person")
    check(SimpleNamespace(mask=turned.photo.mask, chosen=turned.chosen), masks["big"])
    assert grey.problem.startswith("nothing in it looks like")


@pytest.mark.parametrize("prompt", ["", "  ", ".", " . "])
def test_an_empty_prompt_says_what_to_write(segmenter, prompt):
    with pytest.raises(ValueError, match="prompt is empty: write what the subject is"):
        segmenter().segment(torch.rand(8, 8, 3), prompt)


def test_a_prompt_that_is_too_long_says_so(segmenter):
    with pytest.raises(ValueError, match="303 tokens, GroundingDINO takes 256"):
        segmenter().segment(torch.rand(8, 8, 3), "cat " * 300)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box_threshold": 0.0}, r"box_threshold must lie between 0 and 1, got 0\.0"),
        ({"text_threshold": 1.5}, "text_threshold must lie"),
        ({"choice": "first"}, "choice must be one of best score, largest"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        PromptSegmenter(None, None, **options)


# --- photos


class Scripted:
    """A Segmenter that knows a photo by its first pixel: how many subjects it finds there."""

    def __init__(self, choice="best score"):
        self.seen, self.choice = [], choice

    def segment(self, image, prompt):
        self.seen.append(round(image[0, 0, 0].item()))
        found = tuple(Finding((0.0, 0.0, 4.0 + i, 6.0), 0.9 - i / 10, prompt) for i in range(self.seen[-1]))
        if not found:
            raise NoSubject("nothing in it")
        if len(found) > 1 and self.choice == "refuse if several":
            raise SeveralSubjects("several", found, draw_findings(image, found))
        mask = torch.zeros(image.shape[:2])
        mask[:6, :4] = 1
        return Segmentation(mask, found[0], found)


def photo(name, subjects, mask=None):
    return Photo(name, torch.full((10, 8, 3), float(subjects)), mask, caption=f"of {name}")


def test_a_drawn_mask_is_kept_and_what_is_not_found_is_named_while_the_rest_goes_on():
    drawn = torch.zeros(10, 8)
    drawn[9, 7] = 0.5
    photos = [photo("a", 1), photo("b", 0), photo("c", 2, drawn), photo("d", 3, torch.zeros(10, 8)), photo("e", 0)]
    segmenter = Scripted()
    results = list(segment_photos(photos, segmenter, "cat"))
    assert segmenter.seen == [1, 0, 3, 0]  # c is not looked at
    assert [result.photo.name for result in results] == list("abcde")
    assert [result.photo.caption for result in results] == [f"of {name}" for name in "abcde"]
    assert [result.problem for result in results] == ["", "nothing in it", "", "", "nothing in it"]
    assert [len(result.found) for result in results] == [1, 0, 0, 3, 0]
    assert torch.equal(results[2].photo.mask, drawn)
    assert results[3].photo.mask.sum() == 24
    assert results[3].chosen is results[3].found[0]
    assert photos[0].mask is None  # what came in is not changed


def test_photos_without_the_subject_are_an_error_that_says_what_to_do():
    results = segment_photos([photo("a", 0), photo("b", 0)], Scripted(), "cat")
    assert next(results).problem
    assert next(results).problem
    with pytest.raises(NoSubject, match="'cat' was not found in any of the 2 photos: name the subject in other words"):
        next(results)
    with pytest.raises(ValueError, match="no photos to segment"):
        next(segment_photos([], Scripted(), "cat"))


def test_several_subjects_are_refused_with_a_picture_of_them_after_all_photos_were_seen():
    photos = [photo("a", 2), photo("b", 1), photo("c", 3), photo("d", 0)]
    results = segment_photos(photos, Scripted("refuse if several"), "cat")
    assert [bool(result.problem) for result in islice(results, 4)] == [True, False, True, True]
    with pytest.raises(SeveralSubjects, match=r'several subjects in a, c: draw masks .*"largest" choose') as error:
        next(results)
    assert error.value.picture.shape == (512, 1024, 3)
    assert len(error.value.found) == 5


def test_a_picture_shows_where_the_subject_is():
    """At the scale of the picture and in its colours: the box's edges, the veil over the background, the rest as is."""
    image = torch.full((100, 200, 3), 0.5)
    mask = torch.zeros(100, 200)
    mask[20:60, 120:180] = 1
    finding = Finding((120.0, 20.0, 180.0, 60.0), 0.87, "cat")
    picture = draw_findings(image, [finding], finding, mask)
    assert picture.shape == (512, 512, 3)
    green = (picture == torch.tensor([90, 255, 120]) / 255).all(2)
    x0, y0, x1, y1 = box_of(green)
    assert (x0, y0, x1, y1) == pytest.approx((120 * 2.56, 128 + 20 * 2.56, 180 * 2.56, 128 + 60 * 2.56), abs=1.5)
    assert not picture[:126].any()  # above a wide picture
    middle = picture[230, 400]
    torch.testing.assert_close(middle, torch.full((3,), 0.5), atol=0.01, rtol=0)
    assert picture[300, 100, 2] > picture[300, 100, 0] + 0.2
    other = draw_findings(image, [finding])
    assert not (other == torch.tensor([90, 255, 120]) / 255).all(2).any()


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (3, 5)])
def test_pictures_of_any_size_can_be_drawn(size):
    finding = Finding((0.0, 0.0, float(size[1]), float(size[0])), 1.0)
    assert draw_findings(torch.rand(*size, 3), [finding], finding, torch.ones(size), "x" * 200).isfinite().all()


def test_a_picture_like_a_thread_is_a_problem_and_no_crash(segmenter):
    with pytest.raises(NoSubject, match="4000x1 pixels are too long and thin"):
        segmenter().segment(torch.rand(1, 4000, 3), "person")


# --- the real networks, with random weights


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    return write_grounding_dino(tmp_path_factory.mktemp("dino") / "tiny")


@pytest.fixture(scope="module")
def dino(dino_folder):
    return load_grounding_dino(dino_folder)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (60, 90), (320, 10)])
def test_boxes_are_those_of_transformers_own_reading(dino, size):
    """Those of its post-processing that match a word; for pictures that could be taken for channels first, too."""
    image = torch.rand(*size, 3, generator=torch.Generator().manual_seed(0))
    found = dino.detect(image, "Red cat", 0.05, 0.01)
    pixels = (image * 255).round().byte().permute(2, 0, 1)[None].float()
    inputs = dino.processor.image_processor(images=pixels, input_data_format="channels_first", return_tensors="pt")
    words = dino.processor.tokenizer("red cat.", return_tensors="pt")
    with torch.no_grad():
        outputs = dino.network(**inputs, **words)
    (expected,) = dino.processor.post_process_grounded_object_detection(
        outputs, words["input_ids"], threshold=0.05, text_threshold=0.01, target_sizes=[size]
    )
    height, width = size
    named = torch.tensor(["red" in words or "cat" in words for words in expected["text_labels"]])
    wanted = expected["boxes"][named].clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    assert len(found) > 5
    assert len(found) == len(wanted)
    torch.testing.assert_close(torch.tensor([finding.box for finding in found]), wanted, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(torch.tensor([finding.score for finding in found]), expected["scores"][named])


def test_a_hugging_face_id_is_looked_up_in_the_users_own_cache(dino_folder, tmp_path, monkeypatch):
    cache = tmp_path / "models--someone--tiny-dino"
    (cache / "snapshots").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abcd")
    (cache / "snapshots" / "0123abcd").symlink_to(dino_folder)
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub._is_offline_mode", True)
    assert len(load_grounding_dino("someone/tiny-dino").network.state_dict())
    with pytest.raises(ValueError, match=r"someone/else.*check the id and the connection"):
        load_grounding_dino("someone/else")


@pytest.mark.parametrize("name", ["../tiny", "/etc/x", "tiny", "a/b/c", "", "https://example.org/a"])
def test_what_is_no_hugging_face_id_is_refused(name):
    with pytest.raises(ValueError, match="is no Hugging Face id"):
        load_grounding_dino(name)


def damaged(name):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without_a_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.level_embed"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


SDXL = {f"{name}.weight": torch.zeros(2) for name in ("model.diffusion_model.out.2", "conditioner.embedders.0.x")}

BAD_FOLDERS = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"no model\.safetensors in"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"no config\.json in"),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*") if "token" in path.name or "vocab" in path.name],
        r"no tokenizer\.json or vocab\.txt in",
    ),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), r"no preprocessor_config\.json in"),
    "truncated": (damaged("model.safetensors"), "download them again"),
    "text": (put("model.safetensors", b"not a model"), "download them again"),
    "truncated config": (damaged("config.json"), "download them again"),
    "another model": (put("config.json", b'{"model_type": "bert"}'), "of the kind 'bert'"),
    "SDXL": (lambda folder: save_file(SDXL, folder / "model.safetensors", metadata={"format": "pt"}), "weights lack"),
    "a weight less": (without_a_weight, "weights lack 1 of GroundingDINO's"),
}


@pytest.mark.parametrize("fault", BAD_FOLDERS)
def test_a_bad_grounding_dino_folder_is_named(fault, dino_folder, tmp_path):
    folder = tmp_path / "my-dino"
    shutil.copytree(dino_folder, folder)
    damage, message = BAD_FOLDERS[fault]
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_grounding_dino(folder)
    assert "my-dino" in str(error.value)


def test_no_grounding_dino_folder(tmp_path):
    with pytest.raises(ValueError, match=r"there is no GroundingDINO folder .*absent: create it with config\.json"):
        load_grounding_dino(tmp_path / "absent")


@pytest.fixture(scope="module")
def vit_b():
    return random_sam("vit_b")


def test_sam_is_recognised_and_read_from_its_published_file(vit_b, tmp_path):
    path = tmp_path / "renamed by its user.pth"
    torch.save(vit_b, path)
    network = load_sam(path).network
    loaded = network.state_dict()
    assert loaded.keys() == vit_b.keys()
    assert all(torch.equal(loaded[name], value.float()) for name, value in vit_b.items())
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    assert network.pixel_mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert not network.training


@pytest.mark.parametrize(("width", "variant"), [(1024, "vit_l"), (1280, "vit_h")])
def test_the_larger_variants_are_told_by_their_tensors(width, variant, tmp_path):
    """By what a file lacks: whole ones would be 1.2 and 2.6 GB."""
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}, tmp_path / "large.pth")
    with pytest.raises(ValueError, match=rf"large\.pth .* resembles SAM {variant} .* is missing, and \d{{3}} more"):
        load_sam(tmp_path / "large.pth")


def test_a_small_sam_through_the_same_builder_masks_a_picture():
    from segment_anything.build_sam import _build_sam

    torch.manual_seed(0)
    network = _build_sam(
        encoder_embed_dim=16, encoder_depth=1, encoder_num_heads=1, encoder_global_attn_indexes=[], checkpoint=None
    )
    mask = Sam(network).mask(torch.rand(30, 50, 3), (5.0, 5.0, 20.0, 25.0))
    assert mask.shape == (30, 50)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}


class Malicious:
    def __reduce__(self):
        return open, ("the pickle was run", "w")


BAD_SAMS = {
    "sam.pth": (b"not a model", "damaged or no PyTorch file: download it again"),
    "empty.pth": (b"", "is empty"),
    "pickle.pth": (pickle.dumps({"model": Malicious()}, protocol=2), "Loading it could run code"),
    "sdxl.safetensors": (SDXL, "looks like a Stable Diffusion checkpoint: use sam_vit_b"),
    "mobile_sam.pt": ({"image_encoder.layers.0.blocks.0.conv1.c.weight": torch.zeros(1)}, "looks like MobileSAM"),
    "other.pth": ({"a.weight": torch.zeros(1)}, r"holds weights such as a\.weight"),
    "nothing.pth": ({}, "holds no weights"),
}


@pytest.mark.parametrize("name", BAD_SAMS)
def test_a_bad_sam_file_is_named_and_never_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, message = BAD_SAMS[name]
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    elif name.endswith(".safetensors"):
        save_file(content, tmp_path / name)
    else:
        torch.save(content, tmp_path / name)
    with pytest.raises(ValueError, match=message) as error:
        load_sam(tmp_path / name)
    assert name in str(error.value)
    assert not (tmp_path / "the pickle was run").exists()


def test_a_sam_file_that_was_not_downloaded_whole(vit_b, tmp_path):
    few = dict(list(vit_b.items())[:3])
    torch.save(few, tmp_path / "sam.pth")
    content = (tmp_path / "sam.pth").read_bytes()
    (tmp_path / "sam.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"sam\.pth is damaged"):
        load_sam(tmp_path / "sam.pth")
    with pytest.raises(ValueError, match=r"there is no file absent\.pth in"):
        load_sam(tmp_path / "absent.pth")


def test_a_sam_with_more_than_sam_has(vit_b, tmp_path):
    torch.save({**vit_b, "mask_decoder.hf_token.weight": torch.zeros(1)}, tmp_path / "hq.pth")
    with pytest.raises(ValueError, match=r"not it: mask_decoder\.hf_token\.weight is unknown\. Use sam_vit_b"):
        load_sam(tmp_path / "hq.pth")


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, tmp_path / "sam.pth")
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ImportError, match="pip install segment-anything"):
        load_sam(tmp_path / "sam.pth")
