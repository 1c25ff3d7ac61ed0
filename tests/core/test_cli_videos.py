"""The command line: videos drawn anew and enlarged, runs of many clips, and the record beside each."""

import hashlib
import json
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from vcd_core.identity import IDToken, save_id_token
from vcd_core.standalone import clip_commands, tiles
from vcd_core.standalone.batch import clips_of
from vcd_core.standalone.record import is_made
from vcd_core.video import probe_video, read_video, write_video
from vcd_core.vision import Face

pytestmark = pytest.mark.usefixtures("one_thread")


def arguments(files, command, **changes):
    options = {"--prompt": "a photo of a woman", "--checkpoint": files / "sd15.safetensors"}
    options |= {"--motion-module": files / "motion.safetensors", "--cfg": 1, "--window": 4}
    options |= {"--overlap": 1, "--piece": 6, "--steps": 1} | changes
    return [command, "in.mp4", "out.mp4", *(word for pair in options.items() for word in pair)]


@pytest.fixture
def film(tmp_path):
    """Eight frames of 64x96 with a cut before the fourth."""
    generator = torch.Generator().manual_seed(0)
    shots = [level + 0.3 * torch.rand(1, 8, 12, 3, generator=generator) for level in (0.0, 0.6)]
    frames = torch.cat([shots[0].repeat(3, 1, 1, 1), shots[1].repeat(5, 1, 1, 1)])
    return write_video(tmp_path / "in.mp4", frames.repeat_interleave(8, 1).repeat_interleave(8, 2), 12)


def frames_of(path):
    return torch.stack(list(read_video(path)))


def test_a_video_is_enlarged_and_its_detail_drawn_anew(vcd, files, film, tmp_path):
    enlarge = arguments(
        files, "upscale", **{"--upscale-by": 1.5, "--tile": 80, "--tile-overlap": 16, "--window": 40, "--piece": 60}
    )
    code, out, err = vcd(*enlarge)
    assert code == 0, err
    assert "8 frames of 144x96" in out
    info = probe_video(tmp_path / "out.mp4")
    assert (info.height, info.width, info.fps, info.frames) == (96, 144, 12, 8)
    drawn = frames_of(tmp_path / "out.mp4")
    code, _, err = vcd(*enlarge, "--tile-strength", 0)
    assert code == 0, err
    assert (frames_of(tmp_path / "out.mp4") - drawn).abs().mean() > 0.01


def test_a_video_is_drawn_anew_shot_by_shot(vcd, files, film, tmp_path, monkeypatch):
    seen = []

    def refiner(model, prompt, negative, sampling, options, motion, progress, controls):
        def refine(clip, numbers):
            seen.append((options.upscale_by, numbers, tuple(clip.shape[1:3])))
            return clip.repeat_interleave(round(options.upscale_by), 1).repeat_interleave(round(options.upscale_by), 2)

        return refine

    monkeypatch.setattr(clip_commands, "tile_refiner", refiner)
    code, out, err = vcd(*arguments(files, "v2v", **{"--size": 64, "--upscale-by": 2}))
    assert code == 0, err
    assert "8 frames of 192x128" in out
    shots = [range(3), range(3, 8)]
    assert [numbers for by, numbers, _ in seen if by == 1] == shots
    assert [numbers for by, numbers, _ in seen if by == 2] == shots
    assert {size for *_, size in seen} == {(64, 96)}
    assert probe_video(tmp_path / "out.mp4").fps == 12


class Corner:
    def detect(self, images):
        return [[Face((20.0, 16.0, 44.0, 40.0), 0.9)] for _ in images]


def test_the_stages_follow_each_other(vcd, files, film, tmp_path, monkeypatch):
    monkeypatch.setattr(clip_commands, "load_centerface", lambda file: Corner())
    draw = {"--size": 64, "--strength": 0.4, "--face-prompt": "a woman", "--face-size": 64}
    code, out, err = vcd(*arguments(files, "v2v", **draw))
    assert code == 0, err
    assert "2 shots; faces in 8 of them; 2 to be drawn anew" in out
    with_faces = frames_of(tmp_path / "out.mp4")
    record = json.loads((tmp_path / "out.mp4.json").read_text())
    assert any("2 to be drawn anew" in line for line in record["report"])
    code, out, err = vcd(*arguments(files, "v2v", **draw, **{"--min-enlargement": 99}))
    assert code == 0, err
    assert "min_enlargement asks for 99: lower it" in out
    left_alone = frames_of(tmp_path / "out.mp4")
    del draw["--face-prompt"]
    code, _, err = vcd(*arguments(files, "v2v", **draw))
    assert code == 0, err
    without_faces = frames_of(tmp_path / "out.mp4")
    assert torch.equal(left_alone, without_faces)
    change = (without_faces - with_faces).abs().mean((0, 3))
    assert change[16:40, 20:44].mean() > 3 * change[56:].mean()


def test_hints_are_seen_frame_by_frame_at_the_size_of_the_clip(vcd, files, film, tmp_path, monkeypatch):
    """A hint of another size, longer than the video, that says its frame's number; and none for the second pass."""
    levels = (torch.arange(10) / 10)[:, None, None, None].expand(10, 32, 48, 3)
    write_video(tmp_path / "hint.mp4", levels, 12)
    seen = []

    @contextmanager
    def controlled(unet, controls, hints):
        for control, hint in zip(controls, hints, strict=True):
            seen.append((control.strength, hint))
        yield

    monkeypatch.setattr(tiles, "controlled", controlled)
    net = files / "controlnet.safetensors"
    draw = {"--size": 64, "--upscale-by": 2, "--controlnet": f"{net}:0.5", "--hint": "hint.mp4"}
    code, _, err = vcd(*arguments(files, "v2v", **draw, **{"--tile-controlnet": net, "--tile": 192}))
    assert code == 0, err
    assert {strength for strength, _ in seen} == {0.5, 1.0}
    shown = [hint.mean((1, 2, 3)) for strength, hint in seen if strength == 0.5]
    assert {tuple((10 * one).round().int().tolist()) for one in shown} == {(0, 1, 2), (3, 4, 5, 6), (4, 5, 6, 7)}
    assert {tuple(hint.shape[2:]) for strength, hint in seen if strength == 0.5} == {(64, 96)}
    assert {tuple(hint.shape[2:]) for strength, hint in seen if strength == 1.0} == {(128, 192)}
    record = json.loads((tmp_path / "out.mp4.json").read_text())
    assert {"controlnet 1", "hint 1", "tile_controlnet"} <= record["files"].keys()


def test_each_stage_is_told_its_own_prompt_strength_and_controlnets(vcd, files, film, monkeypatch):
    told = []

    def refiner(model, prompt, negative, sampling, options, motion, progress, controls):
        told.append((prompt, negative, options.strength, [control.strength for control in controls]))
        return lambda clip, numbers: clip[..., :3]

    monkeypatch.setattr(clip_commands, "tile_refiner", refiner)
    net = files / "controlnet.safetensors"
    draw = {"--prompt": "a woman", "--negative": "haze", "--upscale-by": 2}
    draw |= {"--tile-strength": 0.3, "--tile-controlnet": f"{net}:0.7"}
    assert vcd(*arguments(files, "upscale", **draw))[0] == 0
    assert told == [(["a woman"], ["haze"], 0.3, [0.7])]
    told.clear()
    draw |= {"--size": 64, "--strength": 0.6, "--controlnet": f"{net}:0.4", "--tile-prompt": "detail"}
    assert vcd(*arguments(files, "v2v", **draw))[0] == 0
    assert told == [(["a woman"], ["haze"], 0.6, [0.4]), (["detail"], ["haze"], 0.3, [0.7])]


def test_a_hint_that_is_too_short_is_said_before_anything_is_loaded(vcd, files, film, tmp_path):
    write_video(tmp_path / "hint.mp4", torch.zeros(7, 64, 64, 3), 12)
    net = {"--controlnet": files / "controlnet.safetensors", "--hint": "hint.mp4"}
    code, out, err = vcd(*arguments(files, "v2v", **net))
    assert code == 2
    assert "the hint hint.mp4 has 7 frames, the video 8" in err
    assert "loading" not in out


NOTHING = {"upscale": {"--upscale-by": 1, "--tile-strength": 0}, "v2v": {"--size": 64, "--strength": 0}}


@pytest.mark.parametrize("command", NOTHING)
def test_nothing_to_do_leaves_the_pictures(vcd, files, film, tmp_path, command):
    code, _, err = vcd(*arguments(files, command, **NOTHING[command]))
    assert code == 0, err
    assert (frames_of(film) - frames_of(tmp_path / "out.mp4")).abs().mean() < 0.01


@pytest.mark.parametrize(
    ("command", "changes", "message"),
    [
        ("upscale", {"--tile": 64, "--tile-overlap": 64}, "--tile-overlap 64 must be less than --tile"),
        ("upscale", {"--tile-overlap": 20}, "multiples of 8"),
        ("upscale", {"--upscale-by": 900}, "give a"),
        ("upscale", {"--overlap": 4}, "--overlap 4 must be less than --window, which is 4"),
        ("v2v", {"--window": 8, "--overlap": 6}, "--overlap 6 must be less than --piece, which is 6"),
        ("v2v", {"--tile-prompt": "detail", "--upscale-by": 1}, "--tile-prompt is for what --upscale-by enlarges"),
        ("v2v", {"--tile-controlnet": "in.mp4", "--upscale-by": 1}, "--tile-controlnet is for what --upscale-by"),
        ("v2v", {"--prompt": "dance " * 80}, "has 80 tokens, the text encoder takes 75: shorten it"),
        ("v2v", {"--which": 1}, "--which chooses a face for --face-prompt"),
        ("v2v", {"--hint": "in.mp4"}, "0 --controlnet and 1 --hint: give a hint for each"),
        ("v2v", {"--controlnet": "nowhere.pth:0.5"}, "there is no file nowhere.pth"),
        ("upscale", {"--tile-controlnet": "nowhere.pth"}, "there is no file nowhere.pth"),
        ("v2v", {"--reference": "photo.png"}, "give as many photos as prompts"),
        ("v2v", {"--checkpoint": "nowhere.safetensors"}, "there is no file nowhere.safetensors"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(vcd, files, film, tmp_path, command, changes, message):
    code, _, err = vcd(*arguments(files, command, **{"--upscale-by": 2, **changes}))
    assert code == 2
    assert err.splitlines()[-1].startswith("vcd: ")
    assert message in err.splitlines()[-1]
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("strength", ["nan", "inf"])
@pytest.mark.parametrize("option", ["--controlnet", "--tile-controlnet", "--motion-lora"])
def test_a_strength_is_a_number(vcd, files, film, capsys, option, strength):
    with pytest.raises(SystemExit):
        vcd(*arguments(files, "v2v", **{option: f"in.mp4:{strength}"}))
    assert f"the strength of in.mp4 must be a number, not '{strength}'" in capsys.readouterr().err


def test_a_video_that_was_not_downloaded_whole_is_refused(vcd, files, film, tmp_path, monkeypatch):
    info = probe_video(film)
    monkeypatch.setattr(clip_commands, "probe_video", lambda path: replace(info, frames=90))
    code, _, err = vcd(*arguments(files, "upscale"))
    assert code == 2
    assert "of 90 frames that the video should have 8 are there" in err


@pytest.mark.parametrize("place", ["folder.mp4", "file/out.mp4"])
def test_an_output_that_cannot_be_written_is_said_first(vcd, files, film, tmp_path, place):
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").write_text("")
    words = arguments(files, "upscale")
    words[2] = place
    code, out, err = vcd(*words)
    assert code == 2
    assert f"the output {place}" in err
    assert "loading" not in out


def test_the_record_says_what_a_clip_was_made_of(vcd, files, film, tmp_path):
    token = IDToken("ava", torch.zeros(2, 32), "woman", 1, "sd15", "2024-01-01")
    saved = save_id_token(token, tmp_path / "embeddings")
    as_it_is = {"--upscale-by": 1, "--tile-strength": 0}
    code, _, err = vcd(*arguments(files, "upscale", **{"--prompt": "embedding:ava woman", "--seed": 7}, **as_it_is))
    assert code == 0, err
    record = json.loads((tmp_path / "out.mp4.json").read_text())

    def sha256(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

    assert record["command"] == "upscale"
    assert (record["settings"]["seed"], record["settings"]["prompt"]) == (7, "embedding:ava woman")
    assert record["files"] == {
        "checkpoint": sha256(files / "sd15.safetensors"),
        "motion_module": sha256(files / "motion.safetensors"),
        "video": sha256(film),
    }
    assert record["tokens"] == {"ava": sha256(saved)}


@pytest.mark.parametrize("command", NOTHING)
def test_a_clip_whose_record_was_not_written_has_none_of_an_earlier_one(
    vcd, files, film, tmp_path, monkeypatch, command
):
    words = arguments(files, command, **NOTHING[command])
    assert vcd(*words)[0] == 0

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(clip_commands, "write_record", stop)
    assert vcd(*words)[0] == 130
    assert (tmp_path / "out.mp4").is_file()
    assert not (tmp_path / "out.mp4.json").exists()


# --- runs --------------------------------------------------------------------------------------------


@pytest.fixture
def jobs(files, tmp_path):
    """Writes jobs.yaml; its text can be added to."""
    for name in ("ava", "bo"):
        save_id_token(IDToken(name, torch.rand(2, 32), "woman", 1, "sd15", "2024-01-01"), tmp_path / "embeddings")

    def write(more="", **changes):
        lines = {"checkpoint": files / "sd15.safetensors", "motion-module": files / "motion.safetensors"}
        lines |= {"tokens": "[ava, bo]", "prompts": '["a photo of {} on a beach", "{} in the snow"]', "seeds": "[3, 4]"}
        lines |= {"size": 64, "frames": 2, "steps": 1, "cfg": 1} | changes
        text = "\n".join(f"{name}: {value}" for name, value in lines.items() if value is not None)
        (tmp_path / "jobs.yaml").write_text(f"{text}\n{more}")
        return tmp_path / "jobs.yaml"

    return write


def report(tmp_path):
    return json.loads((tmp_path / "clips/report.json").read_text())


def test_a_run_makes_every_token_by_every_prompt_by_every_seed(vcd, jobs, tmp_path):
    code, out, err = vcd("run", jobs())
    assert code == 0, err
    assert "8 of 8 clips are there" in out
    names = {f"{token}_{number:02}_{seed}.mp4" for token in ("ava", "bo") for number in (1, 2) for seed in (3, 4)}
    made = {path.name for path in (tmp_path / "clips").iterdir()}
    assert made == {*names, *(f"{name}.json" for name in names), "report.json"}
    listed = report(tmp_path)
    assert listed["planned"] == 8
    assert {one["file"]: one["state"] for one in listed["clips"]} == dict.fromkeys(names, "made")
    assert listed["clips"][0]["prompt"] == "a photo of embedding:ava woman on a beach"


def test_a_run_makes_only_what_is_missing_or_has_changed(vcd, jobs, tmp_path):
    one_seed = jobs(seeds=3)
    assert vcd("run", one_seed)[0] == 0
    clips = tmp_path / "clips"
    (clips / "bo_02_3.mp4").unlink()
    (clips / "bo_01_3.mp4.json").write_text("{")
    save_id_token(
        IDToken("ava", torch.rand(2, 32), "woman", 2, "sd15", "2024-01-02"), tmp_path / "embeddings", overwrite=True
    )
    code, out, err = vcd("run", one_seed)
    assert code == 0, err
    assert {one["file"]: one["state"] for one in report(tmp_path)["clips"]} == {
        "ava_01_3.mp4": "made",
        "ava_02_3.mp4": "made",
        "bo_01_3.mp4": "made",
        "bo_02_3.mp4": "made",
    }
    code, out, _ = vcd("run", one_seed)
    assert "loading" not in out
    assert {one["state"] for one in report(tmp_path)["clips"]} == {"was there"}
    assert vcd("run", jobs(seeds=3, steps=2))[0] == 0
    assert {one["state"] for one in report(tmp_path)["clips"]} == {"made"}


def test_a_clip_that_fails_does_not_stop_the_others(vcd, jobs, tmp_path, monkeypatch):
    make = clip_commands.make_clip

    def failing(model, prompt, negative, options, motion):
        if options.seed == 3:
            raise ValueError("too long")
        return make(model, prompt, negative, options, motion)

    monkeypatch.setattr(clip_commands, "make_clip", failing)
    code, out, err = vcd("run", jobs(tokens="ava", prompts="'{}'"))
    assert code == 1
    assert "1 of 2 clips could not be made" in err
    assert [(one["state"], one.get("error")) for one in report(tmp_path)["clips"]] == [
        ("failed", "too long"),
        ("made", None),
    ]


def test_a_clip_that_was_interrupted_is_not_taken_for_another(vcd, jobs, tmp_path, monkeypatch):
    one = {"tokens": "ava", "prompts": "'{}'", "seeds": 3}
    assert vcd("run", jobs(**one))[0] == 0
    first = (tmp_path / "clips/ava_01_3.mp4").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(clip_commands, "write_record", stop)
        code, _, err = vcd("run", jobs(**one, steps=3))
    assert code == 130
    assert "it goes on when it is called again" in err
    assert (tmp_path / "clips/ava_01_3.mp4").read_bytes() != first
    code, _, err = vcd("run", jobs(**one))
    assert code == 0, err
    assert report(tmp_path)["clips"][0]["state"] == "made"
    assert (tmp_path / "clips/ava_01_3.mp4").read_bytes() == first
    (tmp_path / "clips/ava_01_3.mp4").write_bytes(b"")
    assert vcd("run", jobs(**one))[0] == 0
    assert (tmp_path / "clips/ava_01_3.mp4").read_bytes() == first


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_memory_that_runs_out_fails_a_clip_and_is_said(vcd, files, jobs, tmp_path, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(clip_commands, "make_clip", full)
    assert vcd("run", jobs(tokens="ava", prompts="'{}'", seeds=3))[0] == 1
    assert "memory is full" in report(tmp_path)["clips"][0]["error"]
    code, _, err = vcd("t2v", "a cat", "cat.mp4", "--checkpoint", files / "sd15.safetensors")
    assert code == 2
    assert "memory is full" in err


def test_a_clip_that_no_memory_holds_is_refused_before_anything_is_loaded(vcd, files):
    arguments = ("a cat", "cat.mp4", "--checkpoint", files / "sd15.safetensors", "--size", 400000)
    code, _, err = vcd("t2v", *arguments)
    assert code == 2
    assert "make it no larger than" in err


def test_a_run_without_tokens_and_with_single_values(vcd, jobs, tmp_path):
    code, _, err = vcd("run", jobs(tokens=None, prompts="a cat", seeds=None, out="other"))
    assert code == 0, err
    assert (tmp_path / "other/clip_01_0.mp4").is_file()


def test_a_key_without_a_value_is_as_if_it_were_not_there(jobs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clips, out = clips_of(jobs(out="", frames=""))
    assert out.name == "clips"
    assert {clip.arguments.frames for clip in clips} == {16}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": None}, "the key prompts is missing or empty"),
        ({"seeds": "[]"}, "the key seeds is missing or empty"),
        ({"prompts": "a photo"}, "has no {} where the tokens shall stand"),
        ({"tokens": "../ava"}, "name"),
        ({"tokens": "nobody"}, "there is no embedding 'nobody'"),
        ({"frames": "many"}, "argument --frames: must be a whole number"),
        ({"colour": "red"}, "unrecognized arguments: --colour=red"),
        ({"checkpoint": None}, "--checkpoint"),
        ({"checkpoint": "nowhere.safetensors"}, "nowhere.safetensors"),
        ({"frames": 200}, "frames 200: the motion module knows 32 frames at most, give 32 or fewer"),
        ({"more": "- ["}, "is no YAML"),
        ({"seeds": -1}, "--seed"),
        ({"seed": 1}, "the key seed is called seeds here"),
        ({"fps": 0.00001}, "argument --fps: must be a number, 0.001 or more"),
        ({"frames": None, "frame": 2}, "unrecognized arguments: --frame=2"),
        ({"out": "[clips]"}, "out must be a text or a number, not ['clips']"),
        ({"steps": "[1, 2]"}, "steps takes one value for all clips, not a list"),
        ({"prompts": "{a photo: close up}"}, "prompts must be a text or a number"),
        ({"tokens": None}, "has {} but there are no tokens"),
        ({"prompts": "[{} on a beach]"}, "texts that begin with {} or have a : want quotes"),
    ],
)
def test_a_run_that_cannot_be_is_one_line_that_says_why(vcd, jobs, tmp_path, changes, message):
    code, _, err = vcd("run", jobs(**changes))
    assert code == 2, err
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "clips").exists()


def test_a_file_that_is_no_run(vcd, tmp_path):
    (tmp_path / "list.yaml").write_text("- 1")
    for name, message in (("nowhere.yaml", "there is no file nowhere.yaml"), ("list.yaml", "must be a table")):
        code, _, err = vcd("run", name)
        assert code == 2
        assert message in err


def test_a_record_that_is_no_table_counts_as_none(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "a.mp4.json").write_text("[]")
    assert not is_made(tmp_path / "a.mp4", {"command": "t2v"})
