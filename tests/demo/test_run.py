"""`python -m demo`: what it leaves behind, and what it says when it cannot."""

import json
import shutil
import sys
from pathlib import Path

import av
import pytest
from PIL import Image

from demo import __main__ as command
from demo import measure, run, weights
from vcd_core.standalone.demo_model import DETECTOR_FILE, STYLE_FILE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(monkeypatch, capsys, tmp_path):
    """Runs the demo, shortened, inside tmp_path: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "STEPS", 2)
    monkeypatch.setattr(run, "FRAMES", 3)
    monkeypatch.setattr(run, "CLIPS", {"beach": "a photo of a {} on a beach"})
    monkeypatch.setattr(measure, "STEPS", 2)
    monkeypatch.setattr(measure, "PROMPTS", measure.PROMPTS[:2])

    def main(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["demo", *arguments])
        code = command.main()
        said = capsys.readouterr()
        return code, said.out, said.err

    return main


def test_the_demo_shows_its_character_and_says_how_alike(demo, tmp_path):
    code, out, err = demo("--character", "bolt")
    assert code == 0, err
    made = tmp_path / "out/demo"
    assert {path.name for path in made.iterdir()} == {
        "bolt.safetensors",
        "beach.mp4",
        "contact_sheet.png",
        "full.mp4",
        "full_face.mp4",
        "full_face_large.mp4",
        "index.html",
        "loss.png",
        "summary.json",
    }
    with av.open(str(made / "beach.mp4")) as clip:
        assert [(frame.width, frame.height) for frame in clip.decode(video=0)] == [(128, 128)] * 3
    summary = json.loads((made / "summary.json").read_text(encoding="utf-8"))
    assert all((tmp_path / path).is_file() for path in summary["files"])
    scores = summary["identity_similarity"]
    assert len(scores) == 3
    assert all(0 <= score <= 1 for score in scores.values())
    page = (made / "index.html").read_text(encoding="utf-8")
    assert all(called in page for called in ("bolt robot", "beach.mp4", "contact_sheet.png", *scores))
    assert Image.open(made / "contact_sheet.png").size[0] > 1000
    assert str(Path("out/demo/index.html")) in out.splitlines()[-1]


def test_photos_of_ones_own_are_learned_without_being_scored(demo, tmp_path):
    code, out, err = demo("--photos", str(ROOT / "demo/photos/kit"), "--noun", "cat", "--out", "mine")
    assert code == 0, err
    summary = json.loads((tmp_path / "mine/summary.json").read_text(encoding="utf-8"))
    assert summary["identity_similarity"] == {}
    assert (tmp_path / "mine/subject.safetensors").is_file()
    assert "Identity similarity" not in (tmp_path / "mine/index.html").read_text(encoding="utf-8")
    assert "similarity" not in out


@pytest.mark.parametrize("name", [weights.READER_FILE, DETECTOR_FILE, "demo-model.safetensors"])
def test_a_missing_file_is_one_line_and_nothing_is_written(demo, tmp_path, monkeypatch, name):
    folder = shutil.copytree(weights.WEIGHTS, tmp_path / "demo/weights")
    (folder / name).unlink()
    monkeypatch.setattr(run, "WEIGHTS", folder)
    monkeypatch.setattr(run, "load_eyes", lambda: weights.load_eyes(folder))
    code, _, err = demo()
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("demo: ")]
    assert len(lines) == 1
    assert f"{name} is missing" in lines[0]
    assert f"git checkout -- demo/weights/{name}" in lines[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--photos", "nowhere", "--noun", "cat"], "no folder nowhere"),
        (["--gamma", "1.5"], "gamma"),
        (["--seed", "-1"], "seed"),
        (["--photos", "nowhere"], "--photos and --noun go together"),
        (["--noun", "cat"], "--photos and --noun go together"),
        (["--photos", "here", "--noun", "dog"], "invalid choice: 'dog'"),
        (["--photos", "here", "--noun", "cat", "--character", "kit"], "give one of them"),
        (["--out", __file__], "is a file, name a folder"),
    ],
)
def test_what_the_user_can_put_right_has_exit_code_2(demo, capsys, arguments, complaint):
    try:
        code, _, err = demo(*arguments)
    except SystemExit as stopped:
        code, err = stopped.code, capsys.readouterr().err
    assert code == 2
    assert complaint in err


def test_what_will_be_needed_is_there_before_anything_is_learned(demo, tmp_path, monkeypatch):
    folder = shutil.copytree(weights.WEIGHTS, tmp_path / "demo/weights")
    (folder / STYLE_FILE).unlink()
    monkeypatch.setattr(run, "WEIGHTS", folder)
    monkeypatch.setattr(run, "token_of", None)  # nothing is learned
    code, _, err = demo("--style", "ink")
    assert code == 2
    assert f"{STYLE_FILE} is missing" in err
    (folder / DETECTOR_FILE).unlink()
    code, _, err = demo("--photos", str(ROOT / "demo/photos/kit"), "--noun", "cat")
    assert code == 2
    assert f"{DETECTOR_FILE} is missing" in err
    (tmp_path / "file").write_text("")
    for out in ("file", "file/inside"):
        code, _, err = demo("--out", out)
        assert code == 2
        assert "is a file, name a folder" in err
