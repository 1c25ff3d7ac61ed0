"""All scores of a clip: what is told, what is missing and why, and what is refused."""

import json
import sys

import pytest
import torch

from vcd_core.metrics import ClipScores, Evaluator, FaceEmbedder, Score, as_json, as_text, evaluation
from vcd_core.metrics.backgrounds import background
from vcd_core.vision import Face

MEASURED = ("CLIP-I", "DINO", "CLIP-T", "temporal, CLIP", "temporal, DINO")


class MeanColour:
    """Features of a picture are its mean colour, and their length tells how often it was asked."""

    def __init__(self, name="colours"):
        self.name, self.asked = name, []

    def embed_images(self, images):
        self.asked.append(len(images))
        return torch.stack([image.mean((0, 1)) for image in images])


class Colours(MeanColour):
    """That also knows the names of colours."""

    def embed_text(self, text):
        if len(text) > 5:
            raise ValueError(f"the prompt has {len(text)} letters, colours takes 5: shorten it")
        return {"red": torch.eye(3)[0], "green": torch.eye(3)[1]}[text]


class Reds:
    """Recognises who is in a picture that is not dark."""

    name = "reds"

    def embed_images(self, images):
        rows = torch.stack([image[0, 0] for image in images])
        return (
            rows.masked_fill(rows.sum(1, keepdim=True) == 0, torch.nan)
            if rows.any()
            else torch.full((len(rows), 1), torch.nan)
        )


def plain(*colours, size=(24, 32)):
    return [torch.tensor(colour).expand(*size, 3) for colour in colours]


RED, GREEN, BLUE, BLACK = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)


def scores_of(found: ClipScores) -> dict[str, Score]:
    return {score.name: score for score in found.scores}


def missing_in(found: ClipScores) -> dict[str, str]:
    return {score.name: score.missing for score in found.scores if score.missing}


def test_every_score_of_a_clip_whose_answers_are_known():
    evaluator = Evaluator(plain(RED, GREEN), prompt=" red ", clip=Colours(), dino=MeanColour("mean"), face=Reds())
    scores = scores_of(evaluator.score(plain(RED, RED, BLUE, BLACK), name="clip.mp4"))
    assert scores["CLIP-I"].values == scores["DINO"].values == (0.5, 0.5, 0.0, 0.0)
    assert scores["CLIP-I"].mean == 0.25
    assert scores["CLIP-I"].spread == pytest.approx(torch.tensor([0.5, 0.5, 0, 0]).std().item())
    assert scores["CLIP-T"].values == (1.0, 1.0, 0.0, 0.0)
    assert scores["temporal, CLIP"].values == scores["temporal, DINO"].values == (1.0, 0.0, 0.0)
    assert scores["face similarity"].values == (0.5, 0.5, 0.0)
    assert scores["face similarity"].remark == "a face in 3 of 4 frames and 2 of 2 photos"
    assert scores["flicker"].values == pytest.approx((0, 2 / 3, 1 / 3), abs=1e-6)
    backbones = {score.name: score.backbone for score in scores.values() if not score.missing}
    flow = "DIS optical flow (OpenCV)"
    assert backbones == dict(zip(MEASURED, ("colours", "mean", "colours", "colours", "mean"), strict=True)) | {
        "face similarity": "reds",
        "motion amplitude": flow,
        "flicker": flow,
    }


def test_a_clip_longer_than_a_batch_has_the_scores_of_its_frames(rng):
    """And the pairs between two batches; a third of the frames, all photos, once."""
    photos = [torch.rand(8, 8 + number, 3, generator=rng) for number in range(3)]
    frames = list(torch.rand(40, 24, 32, 3, generator=rng))
    clip = Colours()
    evaluator = Evaluator(photos, clip=clip)
    progress = []
    whole = scores_of(evaluator.score(iter(frames), progress=progress.append))
    assert clip.asked == [3, 16, 16, 8]
    assert progress == [16, 32, 40]
    for name, values in {"CLIP-I": 40, "temporal, CLIP": 39, "motion amplitude": 39}.items():
        assert len(whole[name].values) == values
    part = scores_of(evaluator.score(frames[14:18]))
    assert clip.asked == [3, 16, 16, 8, 4]
    for name in ("CLIP-I", "temporal, CLIP", "motion amplitude", "flicker"):
        assert part[name].values == pytest.approx(whole[name].values[14 : 14 + len(part[name].values)])


def test_without_anything_only_motion_is_measured_and_the_rest_says_why():
    missing = missing_in(Evaluator().score(plain(RED, GREEN)))
    assert missing.keys() == {*MEASURED, "face similarity", "background similarity", "background leakage"}
    assert missing["CLIP-I"] == "no CLIP was given: choose one by --clip, in ComfyUI by clip_model"
    assert missing["temporal, DINO"] == "no DINO was given: choose one by --dino, in ComfyUI by dino_model"
    assert missing["face similarity"].endswith("give insightface by --insightface, in ComfyUI by face_detector")


def test_without_references_or_prompt_what_needs_none_stands():
    everything = {"clip": Colours(), "dino": MeanColour(), "face": Reds()}
    missing = missing_in(Evaluator(**everything).score(plain(RED, GREEN)))
    no_reference = "no reference photos were given: give some by --reference, in ComfyUI by photos"
    for name in ("CLIP-I", "DINO", "face similarity", "background similarity", "background leakage"):
        assert missing[name] == no_reference
    assert missing["CLIP-T"].startswith("no prompt was given")
    assert "temporal, CLIP" not in missing


def test_a_network_that_cannot_read_has_no_clip_t():
    missing = missing_in(Evaluator(plain(RED), prompt="red", clip=MeanColour("eyes")).score(plain(RED)))
    assert missing["CLIP-T"] == "eyes knows no words: take a whole CLIP"
    assert "CLIP-I" not in missing


def test_a_prompt_that_is_too_long_takes_clip_t_alone():
    evaluator = Evaluator(plain(RED), prompt="purple", clip=Colours())
    missing = missing_in(evaluator.score(plain(RED)))
    assert missing["CLIP-T"] == "the prompt has 6 letters, colours takes 5: shorten it"
    assert "CLIP-I" not in missing
    again = evaluator.with_prompt("red")
    assert scores_of(again.score(plain(RED)))["CLIP-T"].values == (1.0,)
    assert "shorten it" in missing_in(again.with_prompt("purple").score(plain(RED)))["CLIP-T"]


def test_a_detector_that_recognises_nobody_takes_the_likeness_of_faces_alone():
    class Boxes:
        def detect(self, images):
            return [[Face((0.0, 0.0, 2.0, 2.0), 0.9)]]

    found = Evaluator(plain(RED), clip=Colours(), face=FaceEmbedder(Boxes(), "boxes")).score(plain(RED, GREEN))
    missing = missing_in(found)
    assert missing["face similarity"].startswith("the face detector does not recognise people: take insightface")
    assert "CLIP-I" not in missing


def test_references_without_a_face_take_the_likeness_of_faces_alone():
    clip = Colours()
    found = Evaluator(plain(BLACK, BLACK), clip=clip, face=Reds()).score(plain(RED, GREEN))
    missing = missing_in(found)
    assert missing["face similarity"] == "no face was found in 2 reference photos"
    assert "CLIP-I" not in missing


def test_frames_without_a_face_are_told():
    faces = Evaluator(plain(RED, BLACK), face=Reds())
    assert missing_in(faces.score(plain(BLACK, BLACK)))["face similarity"] == "no face was found in 2 frames"
    assert missing_in(faces.score(plain(BLACK)))["face similarity"] == "no face was found in 1 frame"
    late = scores_of(faces.score(plain(*[BLACK] * 16, RED)))["face similarity"]
    assert late.values == (1.0,)
    assert late.remark == "a face in 1 of 17 frames and 1 of 2 photos"
    alone = scores_of(Evaluator(plain(RED), face=Reds()).score(plain(RED)))["face similarity"]
    assert alone.remark == "a face in 1 of 1 frame and 1 of 1 photo"


def test_a_clip_of_one_frame_has_no_temporal_scores():
    missing = missing_in(Evaluator(plain(RED), clip=Colours(), dino=MeanColour()).score(plain(RED)))
    for name in ("temporal, CLIP", "temporal, DINO", "motion amplitude", "flicker"):
        assert missing[name] == "the clip has one frame, and this compares neighbouring ones"
    assert not {"CLIP-I", "DINO"} & missing.keys()


def test_without_opencv_only_motion_and_flicker_are_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    missing = missing_in(Evaluator(plain(RED), clip=Colours()).score(plain(RED, GREEN)))
    for name in ("motion amplitude", "flicker"):
        assert "pip install opencv-python-headless" in missing[name]
    assert not {"CLIP-I", "temporal, CLIP"} & missing.keys()


def test_pairs_of_frames_with_nothing_in_common_do_not_count_as_flicker(monkeypatch):
    """As across cuts; their motion does."""
    found = {3: [0.25, torch.nan]}

    def flow(clip):
        return torch.ones(len(clip) - 1), torch.tensor(found[len(clip)])

    monkeypatch.setattr(evaluation, "motion_and_flicker", flow)
    scores = scores_of(Evaluator().score(plain(RED, GREEN, BLUE)))
    assert scores["flicker"].values == (0.25,)
    assert scores["flicker"].remark == "1 of 2 pairs of frames"
    assert scores["motion amplitude"].values == (1.0, 1.0)
    found[3] = [torch.nan, torch.nan]
    missing = missing_in(Evaluator().score(plain(RED, GREEN, BLUE)))
    assert missing["flicker"].startswith("in no two neighbouring frames the same is to be seen")


def test_frames_of_several_sizes_and_pixels_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="frame 2 is 40x24 and the first 32x24: a clip has one size"):
        Evaluator().score([*plain(RED, RED), *plain(RED, size=(24, 40))])
    with pytest.raises(ValueError, match="frame 1 has pixels that are not numbers"):
        Evaluator().score([*plain(RED), torch.full((24, 32, 3), torch.nan)])
    with pytest.raises(ValueError, match="clip.mp4 has no frames"):
        Evaluator().score([], name="clip.mp4")


# --- backgrounds -----------------------------------------------------------------------------------


def subject_in(place, subject=BLUE, size=(20, 20)):
    """A picture with a subject in its middle, and its mask."""
    picture, mask = torch.tensor(place).repeat(*size, 1), torch.zeros(size)
    mask[5:15, 5:15] = 1
    picture[mask > 0] = torch.tensor(subject)
    return picture, mask


def test_a_background_is_a_picture_with_its_subject_in_grey():
    picture, mask = subject_in(RED)
    left = background(picture, mask)
    assert (left[mask > 0] == 0.5).all()
    assert torch.equal(left[mask == 0], picture[mask == 0])
    assert background(picture, torch.ones(20, 20)) is None
    assert torch.equal(background(picture, torch.zeros(20, 20)), picture)


def evaluate_places(photo_place, clip_place, unrelated_place, **changes):
    photo, mask = subject_in(photo_place)
    given = {"unrelated": plain(unrelated_place, size=(40, 40)), "dino": MeanColour("mean")} | changes
    evaluator = Evaluator([photo], [mask], **given)
    frame, frame_mask = subject_in(clip_place, subject=GREEN)
    return scores_of(evaluator.score([frame, frame], [frame_mask, frame_mask]))


def test_the_photos_place_in_a_clip_leaks_and_another_does_not():
    same, other = evaluate_places(RED, RED, BLUE), evaluate_places(RED, BLUE, BLUE)
    assert same["background similarity"].mean == pytest.approx(1)
    assert other["background leakage"].mean == pytest.approx(-same["background leakage"].mean)
    assert same["background leakage"].mean > 0.3
    assert evaluate_places(RED, GREEN, BLUE)["background leakage"].mean == pytest.approx(0, abs=1e-6)
    assert evaluate_places(RED, RED, RED)["background leakage"].mean == pytest.approx(0, abs=1e-6)
    assert same["background leakage"].backbone == "mean"


def test_places_are_compared_by_dino_where_there_is_one_and_else_by_clip():
    both = evaluate_places(RED, RED, BLUE, clip=Colours())
    assert both["background similarity"].backbone == "mean"
    alone = evaluate_places(RED, RED, BLUE, clip=Colours(), dino=None)
    assert alone["background leakage"].backbone == "colours"


def test_the_subject_does_not_count_as_background():
    frames = [subject_in(RED, subject=colour) for colour in (GREEN, BLACK)]
    evaluator = Evaluator([subject_in(RED)[0]], [subject_in(RED)[1]], clip=Colours())
    scores = scores_of(evaluator.score(*zip(*frames, strict=True)))
    assert scores["background similarity"].values == pytest.approx((1.0, 1.0))


def test_a_leak_that_cannot_be_told_says_what_is_not_there():
    photo, mask = subject_in(RED)
    full, frames = torch.ones(20, 20), [photo, photo]

    def missing(masks, frame_masks, **given):
        found = Evaluator([photo], masks, **{"dino": MeanColour(), **given}).score(frames, frame_masks)
        return missing_in(found).get("background leakage", "")

    no_unrelated = "no pictures of other places were given: give some by --unrelated, in ComfyUI by unrelated"
    assert missing([mask], [mask] * 2) == no_unrelated
    no_masks = "the clip has no masks of its subject: put CLIP.mask.mp4 beside it, in ComfyUI give masks"
    assert missing([mask], None) == no_masks
    no_photo_masks = (
        "no reference photo has a mask of its subject and a background around it: put NAME.mask.png beside it"
    )
    assert missing([None], [mask] * 2) == missing([full], [mask] * 2) == no_photo_masks
    assert missing([mask], [full] * 2) == "the subject fills every frame"
    assert missing([mask], [mask] * 2, dino=None).startswith("neither DINO nor CLIP was given")
    with pytest.raises(ValueError, match="the mask of frame 1 does not fit, there is none: give one a frame"):
        missing([mask], [mask])
    with pytest.raises(ValueError, match="the mask of frame 0 does not fit, it is 10x20: give one .* size 20x20"):
        missing([mask], [mask[:, :10]] * 2)
    with pytest.raises(ValueError, match="there are more masks than frames: give one a frame"):
        missing([mask], [mask] * 3)


# --- telling ---------------------------------------------------------------------------------------


def clip_scores(name, *values, **changes):
    scores = (Score("CLIP-I", "tiny", values, **changes), Score("DINO", "", missing="no DINO was given"))
    return ClipScores(name, len(values), 24, 32, scores)


def test_spreads_are_told_over_frames_and_over_clips():
    clips = [clip_scores("a.mp4", 0.5, 0.7), clip_scores("b.mp4", 0.8)]
    told = json.loads(as_json(clips, [("c.mp4", "it is damaged")]))
    first = told["clips"][0]
    assert first["clip"] == "a.mp4"
    assert (first["frames"], first["height"], first["width"]) == (2, 24, 32)
    clip_i, dino = first["scores"]
    assert clip_i["mean"] == pytest.approx(0.6)
    assert clip_i["spread"] == pytest.approx(0.02**0.5)
    assert (clip_i["backbone"], clip_i["values"]) == ("tiny", [0.5, 0.7])
    assert dino == {"name": "DINO", "missing": "no DINO was given"}
    assert told["clips"][1]["scores"][0]["spread"] == 0
    (over,) = told["over_clips"]
    assert (over["name"], over["clips"], over["backbone"]) == ("CLIP-I", 2, "tiny")
    assert over["mean"] == pytest.approx(0.7)
    assert over["spread"] == pytest.approx(0.02**0.5)
    assert told["failed"] == [{"clip": "c.mp4", "error": "it is damaged"}]


def test_people_read_a_table():
    text = as_text([clip_scores("a.mp4", 0.5, 0.7, remark="half a face"), clip_scores("b.mp4", 0.00081234)])
    assert text.splitlines() == [
        "a.mp4: 2 frames of 32x24; mean ± spread over frames",
        "  CLIP-I                  0.600 ± 0.141  tiny; half a face",
        "  DINO                    missing: no DINO was given",
        "",
        "b.mp4: 1 frame of 32x24; mean ± spread over frames",
        "  CLIP-I                  0.000812 ± 0.000000  tiny",
        "  DINO                    missing: no DINO was given",
        "",
        "2 clips; mean of the clips' means ± spread over clips",
        "  CLIP-I                  0.300 ± 0.424  tiny",
    ]


def test_a_score_of_one_clip_among_several_says_so():
    nothing = ClipScores("b.mp4", 1, 24, 32, ())
    assert as_text([clip_scores("a.mp4", 0.5), nothing]).endswith(
        "CLIP-I                  0.500 ± 0.000  tiny  of 1 clip"
    )
