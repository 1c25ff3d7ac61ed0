"""The command line on clips that are measured."""

import json
import shutil

import av
import numpy as np
import pytest
import torch
from PIL import Image
from random_vision import write_clip, write_dino

from vcd_core.identity import load_photos
from vcd_core.metrics import load_clip, load_dino, reference_similarity, text_similarity
from vcd_core.standalone import evaluation
from vcd_core.standalone.tokenizer import clip_tokenizer
from vcd_core.video import read_video, write_video
from vcd_core.vision import Face

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"--clip": write_clip(root / "tiny-clip", clip_tokenizer()), "--dino": write_dino(root / "tiny-dino")}


@pytest.fixture
def clips(tmp_path):
    """Two clips of 20 frames of 64x80, the second of which has masks."""
    generator = torch.Generator().manual_seed(0)
    for name in ("a", "b"):
        frames = torch.rand(20, 8, 10, 3, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
        write_video(tmp_path / f"{name}.mp4", frames, 8)
    masks = torch.zeros(20, 64, 80, 3)
    masks[:, 16:48, 20:60] = 1
    write_video(tmp_path / "b.mask.mp4", masks, 8)
    return tmp_path


def arguments(files, models, *clips, **changes):
    options = {**models, "--reference": files / "photos", **changes}
    return ["evaluate", *clips, *(word for pair in options.items() for word in pair if word is not None)]


def scores_of(clip):
    return {score["name"]: score for score in clip["scores"]}


def test_json_has_the_scores_that_the_library_gives(vcd, files, models, clips):
    prompt = {"--prompt": "a photo of (embedding:ava woman:1.2), on a beach"}
    code, out, err = vcd(*arguments(files, models, "a.mp4", **prompt), "--json")
    assert code == 0, err
    told = json.loads(out)
    (clip,) = told["clips"]
    assert (clip["clip"], clip["frames"], clip["height"], clip["width"]) == ("a.mp4", 20, 64, 80)
    frames = list(read_video("a.mp4"))
    photos = [photo.image for photo in load_photos(files / "photos")]
    scores = scores_of(clip)
    networks = {"CLIP-I": load_clip(models["--clip"]), "DINO": load_dino(models["--dino"])}
    for name, network in networks.items():
        expected = reference_similarity(network.embed_images(frames), network.embed_images(photos))
        assert scores[name]["values"] == pytest.approx(expected.tolist(), abs=1e-5)
        assert scores[name]["backbone"] == network.name
    words = networks["CLIP-I"].embed_text("a photo of woman, on a beach")
    expected = text_similarity(networks["CLIP-I"].embed_images(frames), words)
    assert scores["CLIP-T"]["values"] == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(scores["temporal, DINO"]["values"]) == len(scores["flicker"]["values"]) == 19
    assert scores["background leakage"]["missing"].startswith("the clip has no masks of its subject")


def test_people_read_a_table_with_every_backbone(vcd, files, models, clips):
    code, out, err = vcd(*arguments(files, models, "a.mp4"))
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == "a.mp4: 20 frames of 80x64; mean ± spread over frames"
    told = {line[2:25].strip(): line[26:] for line in lines[1:]}
    assert told["CLIP-I"].endswith("  tiny-clip (2 layers of 32, patches of 16)")
    assert told["DINO"].endswith("  tiny-dino (2 layers of 32, patches of 16)")
    assert told["motion amplitude"].endswith("  DIS optical flow (OpenCV)")
    assert told["CLIP-T"].startswith("missing: no prompt was given")
    assert told["face similarity"].startswith(
        "missing: nothing that recognises faces was given: give insightface by --"
    )


def test_masks_beside_a_clip_tell_what_leaks(vcd, files, models, clips, tmp_path):
    for number in range(3):
        (tmp_path / "places").mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 50, 3), 80 * number, np.uint8)).save(tmp_path / "places" / f"{number}.png")
    code, out, err = vcd(*arguments(files, models, "b.mp4", "b.mask.mp4", **{"--unrelated": "places"}), "--json")
    assert code == 0, err
    (clip,) = json.loads(out)["clips"]
    assert clip["clip"] == "b.mp4"
    leak, alike = (scores_of(clip)[f"background {name}"] for name in ("leakage", "similarity"))
    assert len(leak["values"]) == len(alike["values"]) == 20
    assert leak["mean"] < alike["mean"]
    assert leak["backbone"].startswith("tiny-dino")


def test_a_broken_video_among_many_is_told_and_the_rest_goes_on(vcd, files, models, clips, tmp_path):
    (tmp_path / "broken.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:500])
    several = arguments(files, models, "a.mp4", "broken.mp4", "absent.mp4", "b.mp4")
    code, out, err = vcd(*several, "--json")
    assert code == 1
    told = json.loads(out)
    assert [clip["clip"] for clip in told["clips"]] == ["a.mp4", "b.mp4"]
    assert [clip["clip"] for clip in told["failed"]] == ["broken.mp4", "absent.mp4"]
    assert "broken.mp4 is no video that can be read" in told["failed"][0]["error"]
    assert told["over_clips"][0]["clips"] == 2
    last = err.splitlines()[-1]
    assert last.startswith("vcd: 2 of 4 clips could not be evaluated: broken.mp4: ")
    assert "there is no file absent.mp4: check the name" in last
    code, out, err = vcd(*several)
    assert code == 1
    assert "2 clips; mean of the clips' means ± spread over clips" in out


def remuxed(source, target, later=0, **options):
    """The same packets in an mp4 that begins some seconds later, so that an edit list skips what is before."""
    with av.open(str(source)) as old, av.open(str(target), "w", options=options) as new:
        (video,) = old.streams.video
        stream = new.add_stream_from_template(video)
        for packet in old.demux(video):
            if packet.dts is not None:
                shift = round(later / video.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                new.mux(packet)
    return target


def test_a_video_that_was_cut_off_is_damaged_and_the_rest_goes_on(vcd, files, models, clips, tmp_path):
    """With its table of frames at the front, as videos for the web have it, what is left of it can be read."""
    whole = remuxed("a.mp4", tmp_path / "whole.mp4", movflags="faststart").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: 6 * len(whole) // 10])
    assert 0 < len(list(read_video("cut.mp4"))) < 20
    code, out, err = vcd(*arguments(files, models, "cut.mp4", "whole.mp4"), "--json")
    assert code == 1
    told = json.loads(out)
    assert [clip["clip"] for clip in told["clips"]] == ["whole.mp4"]
    assert told["failed"][0]["clip"] == "cut.mp4"
    assert "of 20 frames that cut.mp4 should have" in told["failed"][0]["error"]
    assert "cut.mp4: of 20 frames" in err.splitlines()[-1]
    code, out, err = vcd(*arguments(files, models, "cut.mp4"))
    assert (code, out) == (2, "")
    assert "it is damaged, copy or make it again" in err.splitlines()[-1]


def test_a_video_that_skips_frames_on_purpose_is_whole(vcd, files, models, clips, tmp_path):
    remuxed("a.mp4", tmp_path / "late.mp4", later=1, avoid_negative_ts="disabled")  # 8 frames
    code, out, err = vcd(*arguments(files, models, "late.mp4"), "--json")
    assert code == 0, err
    assert json.loads(out)["clips"][0]["frames"] == 12


def test_masks_beyond_the_end_of_a_clip_are_refused(vcd, files, models, clips, tmp_path):
    write_video(tmp_path / "b.mp4", torch.rand(12, 64, 80, 3), 8)
    code, _, err = vcd(*arguments(files, models, "b.mp4"))
    assert code == 2
    assert err.splitlines()[-1] == "vcd: there are more masks than frames: give one a frame"


def test_photos_are_looked_at_once_for_all_clips(vcd, files, models, clips, monkeypatch):
    asked = []

    def load(source):
        network = load_dino(source)
        embed = network.embed_images
        monkeypatch.setattr(network, "embed_images", lambda images: asked.append(len(images)) or embed(images))
        return network

    monkeypatch.setattr(evaluation, "load_dino", load)
    code, _, err = vcd(*arguments(files, models, "a.mp4", "a.mp4"))
    assert code == 0, err
    assert asked == [3, 3, 16, 4, 16, 4]  # the photos, their backgrounds, and the frames of each clip


class Recognises:
    name = "insightface buffalo_l"

    def detect(self, images):
        return [[Face((0.0, 0.0, 4.0, 4.0), 0.9, embedding=torch.tensor([0.6, 0.8]))] for _ in images]


class SeesNobody(Recognises):
    def detect(self, images):
        return [[] for _ in images]


def test_faces_are_compared_by_insightface(vcd, files, models, clips, monkeypatch):
    faces = {"--insightface": "buffalo_l"}
    for detector, expected in ((Recognises(), {"mean": 1.0}), (SeesNobody(), {})):
        monkeypatch.setattr(evaluation, "load_insight_faces", lambda pack, found=detector: found)
        code, out, err = vcd(*arguments(files, models, "a.mp4", **faces), "--json")
        assert code == 0, err
        scores = scores_of(json.loads(out)["clips"][0])
        face = scores["face similarity"]
        if expected:
            assert face["mean"] == pytest.approx(1)
            assert face["backbone"] == "insightface buffalo_l"
        else:
            assert face["missing"] == "no face was found in 3 reference photos"
        assert "mean" in scores["DINO"]


def test_a_prompt_that_is_too_long_takes_clip_t_alone(vcd, files, models, clips):
    code, out, err = vcd(*arguments(files, models, "a.mp4", **{"--prompt": "dance " * 80}), "--json")
    assert code == 0, err
    scores = scores_of(json.loads(out)["clips"][0])
    assert scores["CLIP-T"]["missing"].startswith("the prompt has 82 tokens")
    assert "mean" in scores["CLIP-I"]


def test_networks_can_be_left_out_and_photos_too(vcd, files, clips):
    code, out, err = vcd("evaluate", "a.mp4", "--clip", "none", "--dino", "none")
    assert code == 0, err
    assert "CLIP-I                  missing: no CLIP was given: choose one by --clip" in out
    assert "motion amplitude        0." in out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--reference": "nowhere"}, "there is no folder nowhere: create it and put 5-10 photos"),
        ({"--reference": "empty"}, "empty holds no photos"),
        ({"--unrelated": "empty"}, "empty holds no photos"),
        ({"--clip": "empty"}, "there is no config.json in the CLIP folder empty"),
        ({"--clip": "dino"}, "CLIP could not be loaded from dino: its config.json is of a model of the kind 'vit'"),
        ({"--dino": "clip"}, "DINO could not be loaded from clip: its config.json is of a model of the kind 'clip'"),
        ({"--dino": "clip"}, "; --dino none leaves its scores out"),
        ({"--clip": "nowhere"}, "'nowhere' is no Hugging Face id: write owner/name"),
        ({"--clip": "nowhere"}, "; --clip none leaves its scores out"),
        ({"--insightface": "empty"}, "insightface"),
    ],
)
def test_what_cannot_be_done_is_one_line(vcd, files, models, clips, tmp_path, changes, message):
    (tmp_path / "empty").mkdir()
    for name, folder in models.items():
        shutil.copytree(folder, tmp_path / name[2:])
    code, out, err = vcd(*arguments(files, models, "a.mp4", **changes))
    assert code == 2
    assert out == ""
    last = err.splitlines()[-1]
    assert last.startswith("vcd: ")
    assert message in last


def test_a_single_video_that_cannot_be_read_is_something_to_put_right(vcd, files, models, clips):
    code, _, err = vcd(*arguments(files, models, "absent.mp4"))
    assert code == 2
    assert err.splitlines()[-1] == "vcd: there is no file absent.mp4: check the name"
