"""A prompt's subject cut out of a picture, where the answer is known, and what people are shown of it."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from random_segmenters import WORDS
from torch import nn

from demo import world
from demo.appearance import random_look
from demo.shots import random_shot
from vcd_core.identity import load_photos, segment_photos
from vcd_core.vision import (
    Finding,
    GroundingDino,
    NoSubject,
    PromptSegmenter,
    Sam,
    SeveralSubjects,
    draw_findings,
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
    full, far = (random_shot(rng, "in a flower meadow", framing) for framing in ("full", "far"))
    shots = {"big": replace(full, x=0.28, y=0.35), "small": replace(far, x=0.75, y=0.45)}
    renders = world.render_group([(random_look(rng, "woman"), shots[name]) for name in names], size=256)
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


# --- pictures for people


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
