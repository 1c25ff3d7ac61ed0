"""The identity benchmark in pieces: they are the same run, whoever does them and in whatever order they come back."""

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from anywhere import COUNT, PLAN, PRETENDED, Anywhere, Pretending

from benchmarks import identity
from benchmarks.baselines import METHODS
from benchmarks.clips import learned, pieces, plan, running, worlds


@dataclass(frozen=True)
class WithClass(Pretending):
    """A method that learns from pictures of the class."""

    prior_weight: float = 1.0

    def learn(self, model, lesson):
        return {"masks": lesson.class_latents().sum()}


@pytest.fixture(autouse=True)
def drawn(monkeypatch, one_thread):
    """The classes that pictures were drawn of, in their order."""
    classes = []

    def draw(model, noun, size, count):
        classes.append(noun)
        return torch.full((count, 4, 2, 2), float(len(noun)))

    for name, method in {**PRETENDED, "dreambooth": WithClass, "svdiff": WithClass}.items():
        monkeypatch.setitem(METHODS, name, method)
    monkeypatch.setattr(learned, "class_latents", draw)
    monkeypatch.setattr(Pretending, "learned", [])
    return classes


@pytest.fixture
def planned(tmp_path):
    def make(out, text=PLAN, world=None):
        file = tmp_path / "plan.yaml"
        file.write_text(f"out: {tmp_path / out}\n{text}", encoding="utf-8")
        return plan.plan_of(plan.read_source(file), world or Anywhere())

    return make


class Scrambled:
    """A pool of several workers in one process, the latest of whose results comes first.

    Attributes:
        deaths: jobs that are lost instead, each once.
    """

    def __init__(self, open_world, work, count, deaths):
        self.idle, self.done, self.deaths, self.released = [], [], deaths, False
        scratch = [work.plan.out.parent / f"worker{number}" for number in range(count)]
        self.starting = [pieces.Worker(open_world, work.plan, Path.cwd(), 1, folder) for folder in scratch]

    @property
    def running(self):
        return [piece for piece, _, _ in self.done]

    def start(self, piece, files):
        worker = self.idle.pop()
        if piece.job in self.deaths:
            self.deaths.remove(piece.job)
            result = None
        else:
            result = worker.do(piece, {file.name: file.read_bytes() for file in files})
        assert not worker.plan.out.exists()
        self.done.append((piece, result, worker))

    def wait(self):
        if self.starting:
            self.idle.append(self.starting.pop())
            return None
        piece, result, worker = self.done.pop()
        self.idle.append(worker)
        return piece, result

    def release(self):
        self.released = True


def in_pieces(open_world, count=3, deaths=()):
    def make(work):
        return pieces.make_in_pieces(work, pieces.pieces_of(work), Scrambled(open_world, work, count, list(deaths)))

    return make


def left_by(folder):
    """All files, and the lines of the CSV in the order of the alphabet, without how long each took."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = files.pop(running.CLIPS).decode().splitlines()
    return sorted(line.rsplit(",", 1)[0] for line in lines), files


ROWS = PLAN + (
    "  - {method: vcd, name: again}\n  - {method: dreambooth}\n  - {method: svdiff, gamma: 0.5}\n"
    "keep: true\nclass_pictures: 2\n"
)


def test_what_is_left_is_the_same_as_without_pieces(planned, tmp_path):
    whole = running.run(planned("whole", ROWS), Anywhere())
    parts = running.run(planned("parts", ROWS), Anywhere(), make=in_pieces(Anywhere))
    assert left_by(tmp_path / "parts") == left_by(tmp_path / "whole")
    assert (parts.failed, parts.parameters, parts.sizes) == ([], whole.parameters, whole.sizes)
    told = [
        {name: [(c.subject, c.prompt, c.seed, c.scores) for c in clips] for name, clips in one.clips.items()}
        for one in (whole, parts)
    ]
    assert told[0] == told[1]


def test_every_lesson_class_and_clip_is_one_piece_s(planned, drawn, tmp_path):
    said = []
    running.run(planned("out", ROWS), Anywhere(), said.append, in_pieces(Anywhere))
    lines, _ = left_by(tmp_path / "out")
    nouns = sorted(noun for noun, _ in Pretending.learned)  # of vcd and of lora
    assert nouns == ["ann noun", "ann noun", "bob noun", "bob noun"]
    assert sorted(drawn) == ["ann noun", "bob noun"]  # of two methods
    assert len(lines) == len(set(lines)) == 1 + COUNT + 8 + 8  # "again" has the clips of the first row
    assert len([line for line in said if "made" in line]) == 2 + 2 + 2 + 2


def test_a_piece_is_of_a_few_clips(planned, monkeypatch):
    monkeypatch.setattr(pieces, "AT_ONCE", 3)
    sizes = []

    def note(work):
        sizes.extend(len(piece.todo) for piece in pieces.pieces_of(work) if piece.job == pieces.MAKE)
        return iter(())

    running.run(planned("out"), Anywhere(), make=note)
    assert sizes == [3, 1, 3, 1, 2, 2]


def test_it_goes_on_where_another_was_stopped_either_way(planned, tmp_path):
    def stop(number):
        if number == 6:
            raise KeyboardInterrupt

    running.run(planned("unbroken"), Anywhere())
    assert running.run(planned("out"), Anywhere(stop)).stopped
    assert running.run(planned("out"), Anywhere(), make=in_pieces(lambda: Anywhere(stop), 1)).stopped
    rest = Anywhere()
    running.run(planned("out"), rest)
    assert left_by(tmp_path / "out") == left_by(tmp_path / "unbroken")
    assert 0 < rest.made < COUNT - 5


@pytest.mark.parametrize("method", ["vcd", "dreambooth"])
def test_what_cannot_be_learned_is_the_loss_of_its_clips_alone(method, planned, monkeypatch):
    """And of those of another row that are the same; of a class that cannot be drawn it is as with lessons."""

    def fail(*_):
        raise ValueError("out of\npaper")

    monkeypatch.setattr(learned, "class_latents", fail)
    if method == "vcd":
        monkeypatch.setitem(METHODS, "vcd", type("Failing", (Pretending,), {"learn": fail}))
    rows = f"  - {{method: {method}, name: other}}\n  - {{method: {method}, name: same}}\n"
    text = PLAN.replace("  - {method: vcd}\n", "") + rows
    outcome = running.run(planned("out", text), Anywhere(), make=in_pieces(Anywhere))
    assert {name: len(clips) for name, clips in outcome.clips.items()} == {
        "lora": 4,
        f"{method}, other": 0,
        f"{method}, same": 0,
    }
    assert len(outcome.failed) == len(set(outcome.failed)) == 16
    assert {why for _, why in outcome.failed} == {"out of paper"}


def test_a_clip_that_cannot_be_made_stops_no_other(planned):
    def fail(number):
        if number == 2:
            raise ValueError("no memory\nleft")

    text = PLAN + "  - {method: vcd, name: same}\n"
    outcome = running.run(planned("out", text), Anywhere(), make=in_pieces(lambda: Anywhere(fail), 1))
    failed = [name for name, why in outcome.failed if why == "no memory left"]
    assert len(failed) == len(outcome.failed) == 2
    assert failed[0].partition(", ")[2] == failed[1].partition("same, ")[2]
    assert sum(map(len, outcome.clips.values())) == COUNT + 8 - 2


def test_a_piece_whose_process_died_is_another_s(planned, tmp_path):
    running.run(planned("unbroken", ROWS), Anywhere())
    deaths = [pieces.DRAW, pieces.LEARN, pieces.MAKE]
    outcome = running.run(planned("out", ROWS), Anywhere(), make=in_pieces(Anywhere, deaths=deaths))
    assert outcome.failed == []
    assert left_by(tmp_path / "out") == left_by(tmp_path / "unbroken")


@pytest.mark.parametrize("job", [pieces.DRAW, pieces.LEARN, pieces.MAKE])
def test_a_piece_of_which_processes_die_is_given_up(job, planned):
    outcome = running.run(planned("out", ROWS), Anywhere(), make=in_pieces(Anywhere, 1, [job] * pieces.TRIES))
    assert len(outcome.failed) == len(set(outcome.failed)) == 4 + 4  # of one subject, in the two rows that share it
    assert {why for _, why in outcome.failed} == {"whoever was to make it died"}


def test_what_a_killed_process_left_is_no_part_of_the_next_one_s(planned, tmp_path):
    (tmp_path / "worker0/frames").mkdir(parents=True)
    (tmp_path / "worker0/frames/half.jpg").write_bytes(b"half")
    running.run(planned("out"), Anywhere(), make=in_pieces(Anywhere))
    assert "frames/half.jpg" not in left_by(tmp_path / "out")[1]


class OtherPhotos(Anywhere):
    def photos(self, subject):
        return super().photos("cat")


class OtherModel(Anywhere):
    fingerprint = "elsewhere"


class NoPhotos(Anywhere):
    def photos(self, subject):
        raise ValueError(f"{subject} holds no photos")


def cannot_open():
    raise ValueError("there is no file sd15.ckpt")


@pytest.mark.parametrize(
    ("open_world", "said"),
    [
        (OtherPhotos, "has other files than this machine"),
        (OtherModel, "has other files than this machine"),
        (NoPhotos, "on .*: ann holds no photos"),
        (cannot_open, "on .*: there is no file sd15.ckpt"),
    ],
)
def test_a_machine_that_has_other_files_makes_nothing(open_world, said, planned):
    with pytest.raises(ValueError, match=said):
        running.run(planned("out"), Anywhere(), make=in_pieces(open_world))
    assert (planned("out").out / running.CLIPS).read_bytes().count(b"\n") == 1


# ---------------------------------------------------------------- the command


@pytest.fixture
def command(planned, tmp_path, monkeypatch, capsys):
    """Runs the command on a plan without ray: exit code and stderr."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "benchmarks.clips.cluster", raising=False)
    monkeypatch.setattr(worlds, "open_world", lambda source: Anywhere())
    planned("out")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["identity", str(tmp_path / "plan.yaml"), *arguments])
        return identity.main(), capsys.readouterr().err

    return run


def test_ray_is_asked_for_by_its_install_line_before_anything_is_made(command, tmp_path):
    code, said = command("--ray")
    assert code == 2
    assert said.count("\n") == 1
    assert "pip install '.[ray]'" in said
    assert not (tmp_path / "out").exists()


def test_without_the_option_ray_is_not_imported(command, tmp_path):
    code, said = command()
    assert (code, "12 of 12 clips" in said) == (0, True)


def test_a_plan_behind_the_option_is_no_address(command):
    code, said = command("--ray", "plan.yaml")
    assert (code, "put plan.yaml before --ray" in said) == (2, True)
