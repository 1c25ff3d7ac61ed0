"""Runs of the identity benchmark: no clip is lost, none is made twice, and one that fails stops no other."""

import multiprocessing
import os
import signal
import time
from dataclasses import replace

import pytest
import torch
from anywhere import COUNT, FRAMES, PLAN, PRETENDED, Anywhere, Pretending

from benchmarks.clips import learned, running, store
from vcd_core.video import write_video

pytestmark = pytest.mark.usefixtures("pretended")


def lines_of(planned):
    """The clips in the file, without how long each took."""
    text = (planned.out / running.CLIPS).read_text(encoding="utf-8")
    return [line.rsplit(",", 1)[0] for line in text.splitlines()[1:]]


@pytest.fixture
def unbroken(planned, tmp_path):
    """What a run that nothing stopped leaves."""
    one = planned()
    running.run(one, Anywhere())
    lines = lines_of(one)
    (tmp_path / "out").rename(tmp_path / "unbroken")
    assert len(lines) == len(set(lines)) == COUNT
    return lines


# ---------------------------------------------------------------- no clip is lost, none is made twice


@pytest.mark.parametrize("when", range(1, COUNT + 1))
def test_a_run_that_was_stopped_at_any_clip_goes_on(when, planned, unbroken):
    def stop(number):
        if number == when:
            raise KeyboardInterrupt

    one, first, second = planned(), Anywhere(stop), Anywhere()
    outcome = running.run(one, first)
    assert outcome.stopped
    assert sum(map(len, outcome.clips.values())) == when - 1
    assert not running.run(one, second).stopped
    assert lines_of(one) == unbroken
    assert (first.made, second.made) == (when, COUNT - when + 1)


def test_a_run_whose_last_line_was_cut_anywhere_goes_on(planned, unbroken):
    one = planned()
    running.run(one, Anywhere())
    file = one.out / running.CLIPS
    content = file.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for end in (0, 5, *range(last, len(content))):
        file.write_bytes(content[:end])
        again = Anywhere()
        running.run(one, again)
        assert lines_of(one) == unbroken
        assert again.made == (COUNT if end <= 5 else 1)


def test_a_run_that_was_killed_goes_on(planned, unbroken):
    """By a signal that no program can catch, again and again, whatever it was at."""
    one = planned()
    file = one.out / running.CLIPS

    def run():
        torch.set_num_threads(1)  # OpenMP would wait for threads that were not forked
        running.run(one, Anywhere(lambda number: time.sleep(0.01)))

    for least in (2, 5, 9):
        child = multiprocessing.get_context("fork").Process(target=run)
        child.start()
        while child.is_alive() and (not file.exists() or file.read_bytes().count(b"\n") < least + 1):
            time.sleep(0.002)
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    running.run(one, Anywhere())
    assert lines_of(one) == unbroken


def test_a_second_run_makes_nothing(planned):
    one, again = planned(), Anywhere()
    running.run(one, Anywhere())
    outcome = running.run(one, again)
    assert again.made == 0
    assert {name: len(clips) for name, clips in outcome.clips.items()} == {"vcd": 8, "lora": 4}
    found = [(name, clip.subject, clip.prompt, clip.seed) for name, clips in outcome.clips.items() for clip in clips]
    assert found == [(w.row.name, w.subject, w.prompt, w.seed) for w in running.wanted_clips(one)]


def test_other_settings_are_other_clips_and_what_was_learned_is_used_again(planned):
    running.run(planned(), Anywhere())
    more = PLAN + "  - {method: vcd, gamma: 0.5}\n  - {method: vcd, masks: false}\n  - {method: vcd, style: ink}\n"
    assert len(Pretending.learned) == 4
    outcome = running.run(planned(more), again := Anywhere())
    assert again.made == 3 * 8
    assert len(Pretending.learned) == 4 + 2  # without masks, for two subjects
    alike = {name: [clip.scores["alike"] for clip in clips] for name, clips in outcome.clips.items()}
    assert alike["vcd, gamma 0.5"] == pytest.approx([value + 0.4 / 100 for value in alike["vcd"]])
    assert alike["vcd, no masks"] == pytest.approx([value - 1 / 100 for value in alike["vcd"]])
    assert alike["vcd, style ink"] == alike["vcd"]


def test_a_stage_that_is_done_otherwise_is_made_anew_and_no_other(planned):
    more = PLAN + "  - {method: vcd, stage: face}\n"
    running.run(planned(more), Anywhere())
    again = Anywhere()
    again.settings = {"face": ("a wider square",)}
    running.run(planned(more), again)
    assert again.made == 8


def test_a_row_with_steps_of_its_own_learns_by_itself(planned):
    running.run(planned(PLAN + "  - {method: vcd, steps: 7}\n"), Anywhere())
    assert [steps for _, steps in Pretending.learned] == [200] * 4 + [7] * 2


def test_a_row_may_change_our_recipe(planned):
    asked = "{context_weight: 1e-1, mask_margin: 0.25, decay: 0.5, hold_norm: true}"
    one, world = planned(PLAN + f"  - {{method: vcd, recipe: {asked}}}\n"), Anywhere()
    row, own = one.rows[-1], world.recipe("ann")
    options = replace(own.options, context_weight=0.1, decay=0.5, hold_norm=True)
    assert learned.lesson_of(world, row, "ann")[1] == replace(own, mask_margin=0.25, options=options)
    assert row.name == "vcd, context_weight 0.1, mask_margin 0.25, decay 0.5, hold_norm 1"
    files = learned.Learned(world, one.out, 1)
    assert files.file(row, "ann") != files.file(one.rows[0], "ann")
    assert learned.lesson_of(world, one.rows[0], "ann")[1] == own


def test_photos_have_captions_only_in_a_row_that_asks_for_them(planned):
    outcome = running.run(planned(PLAN + "  - {method: vcd, captions: true}\n"), Anywhere())
    alike = {name: [clip.scores["alike"] for clip in clips] for name, clips in outcome.clips.items()}
    assert alike["vcd, captions"] == pytest.approx([value + 1 / 200 for value in alike["vcd"]])


def test_a_row_of_captions_says_all_that_the_world_knows(planned, monkeypatch):
    monkeypatch.setitem(PRETENDED, "caption", Pretending)
    outcome = running.run(planned(PLAN + "  - {method: caption}\n"), Anywhere())
    alike = {name: [clip.scores["alike"] for clip in clips] for name, clips in outcome.clips.items()}
    longer = len("ann in many words") - len("ann noun")
    assert alike["caption"] == pytest.approx([value + longer / 100 for value in alike["vcd"]])


def test_two_runs_at_once_are_refused(planned):
    one = planned()
    file = one.out / running.CLIPS
    with store.alone(file):
        file.write_bytes(b"fingerprint,meth")  # as a run leaves it for a moment
        with pytest.raises(ValueError, match="another run writes to"):
            running.run(one, Anywhere())
        assert file.read_bytes() == b"fingerprint,meth", "it is the other run's"
    running.run(one, Anywhere())
    assert len(lines_of(one)) == COUNT


@pytest.mark.parametrize("damage", [b"x,y,z", b"\x00\xff", b'"', b",,,,,,,,,", b"f,vcd,,ann,p,one,0.5,0.5,,1.0"])
def test_a_damaged_line_is_named_and_left_alone(damage, planned, unbroken):
    one = planned()
    running.run(one, Anywhere())
    file = one.out / running.CLIPS
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([*lines[:2], damage, *lines[3:]]))
    with pytest.raises(ValueError, match=r"clips.csv, line 3 is damaged: delete that line"):
        running.run(one, Anywhere())
    file.write_bytes(b"\n".join([*lines[:2], *lines[3:]]))
    again = Anywhere()
    running.run(one, again)
    assert again.made == 1
    assert sorted(lines_of(one)) == sorted(unbroken)


def test_what_was_learned_and_is_damaged_is_named_and_costs_no_other_subject(planned):
    one = planned()
    running.run(one, Anywhere())
    (file,) = (one.out / running.LEARNED).glob("vcd-ann-*")
    file.write_bytes(file.read_bytes()[:20])
    outcome = running.run(one, again := Anywhere())
    assert (outcome.failed, again.made) == ([], 0), "its clips are there"
    assert outcome.parameters.keys() == {"lora"}
    (one.out / running.CLIPS).unlink()
    outcome = running.run(one, Anywhere())
    assert {(clip.split("_")[0], why.partition(" (")[0]) for clip, why in outcome.failed} == {
        ("vcd, ann", f"{file} is damaged")
    }
    assert len(outcome.failed) == 4
    file.unlink()
    assert running.run(one, Anywhere()).failed == []


def test_a_file_of_other_scores_is_left_alone(planned):
    one = planned()
    file = one.out / running.CLIPS
    file.parent.mkdir()
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="has other columns: move it away"):
        running.run(one, Anywhere())
    assert file.read_text() == "a,b\n1,2\n"


def test_scores_come_back_as_they_were(tmp_path):
    clip = store.Scored("f", "vcd", "gamma 0.5, no masks", "ann", 'a "photo" of {}, ä', 3, {"x": 1 / 3}, 1.25)
    kept = store.Store(tmp_path / "clips.csv", ("x", "y"))
    kept.add(clip)
    (again,) = store.Store(tmp_path / "clips.csv", ("x", "y"))
    assert (again.scores, again.prompt, again.ablation, again.seed) == ({"x": 1 / 3}, clip.prompt, clip.ablation, 3)


# ---------------------------------------------------------------- what goes wrong


def test_a_clip_that_cannot_be_made_stops_no_other_and_is_tried_again(planned):
    def fail(number):
        if number == 3:
            raise ValueError("no memory\nleft")

    one = planned()
    outcome = running.run(one, Anywhere(fail))
    assert outcome.failed == [("vcd, ann_02_0", "no memory left")]
    assert len(lines_of(one)) == COUNT - 1
    again = Anywhere()
    assert running.run(one, again).failed == []
    assert again.made == 1
    assert len(set(lines_of(one))) == COUNT


def test_a_subject_without_photos_stops_no_other(planned):
    class Lost(Anywhere):
        def photos(self, subject):
            if subject == "ann":
                raise ValueError("ann holds no photos")
            return super().photos(subject)

    outcome = running.run(planned(), Lost())
    assert len(outcome.failed) == COUNT / 2
    assert {why for _, why in outcome.failed} == {"ann holds no photos"}
    assert {clip.subject for clips in outcome.clips.values() for clip in clips} == {"bob"}


def test_a_broken_video_among_many_is_reported(planned, tmp_path):
    for name in ("ann_01_0", "bob_01_0", "cat_01_0"):
        write_video(tmp_path / f"{name}.mp4", torch.full((FRAMES, 16, 16, 3), 0.5), 8.0)
    whole = (tmp_path / "bob_01_0.mp4").read_bytes()
    (tmp_path / "bob_01_0.mp4").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "cat_01_0.mp4").unlink()
    rows = f'prompts: ["a {{}}"]\nrows:\n  - {{name: theirs, videos: "{tmp_path}"}}\n'
    outcome = running.run(planned(rows), Anywhere())
    assert [clip.subject for clip in outcome.clips["theirs"]] == ["ann"]
    assert outcome.clips["theirs"][0].scores["alike"] == pytest.approx(0.5, abs=0.02)
    failed = dict(outcome.failed)
    assert list(failed) == ["theirs, bob_01_0", "theirs, cat_01_0"]
    assert "SUBJECT_PROMPT_SEED" in failed["theirs, cat_01_0"]


@pytest.mark.parametrize("what", ["photos", "recipe"])
def test_videos_are_scored_anew_when_there_are_other_photos_or_another_noun(what, planned, tmp_path, monkeypatch):
    write_video(tmp_path / "ann_01_0.mp4", torch.full((FRAMES, 16, 16, 3), 0.5), 8.0)
    rows = f'subjects: 1\nprompts: ["a {{}}"]\nrows:\n  - {{name: theirs, videos: "{tmp_path}"}}\n'
    for _ in range(2):
        running.run(planned(rows), Anywhere())
    assert len(lines_of(planned(rows))) == 1
    own = getattr(Anywhere, what)
    monkeypatch.setattr(Anywhere, what, lambda self, subject: own(self, "bob"))
    running.run(planned(rows), Anywhere())
    assert len(lines_of(planned(rows))) == 2


def test_a_video_whose_last_frames_are_missing_is_not_scored(tmp_path, monkeypatch):
    file = write_video(tmp_path / "clip.mp4", torch.full((FRAMES, 16, 16, 3), 0.5), 8.0)
    assert len(running.whole_video(file)) == FRAMES
    read = running.read_video
    monkeypatch.setattr(running, "read_video", lambda path: list(read(path))[:-1])
    with pytest.raises(ValueError, match=f"of {FRAMES} frames .* {FRAMES - 1} are there: it is damaged"):
        running.whole_video(file)


# ---------------------------------------------------------------- what is kept


@pytest.mark.parametrize("keep", [False, True])
def test_clips_are_kept_only_if_the_plan_says_so(keep, planned):
    one = planned(PLAN + f"keep: {str(keep).lower()}\n")
    running.run(one, Anywhere())
    assert len(list(one.out.rglob("*.mp4"))) == (COUNT if keep else 0)


def kept_by(plan):
    """Videos and what is told beside them."""
    return {file: file.read_bytes() for file in (plan.out / running.VIDEOS).rglob("*.mp4*")}


def test_kept_videos_stay_whatever_the_plan_says_next(planned):
    """Prompts are numbered, so one put in front takes the number of another."""
    first = planned(PLAN + "keep: true\n")
    running.run(first, Anywhere())
    before = kept_by(first)
    assert len(before) == 2 * COUNT
    second = planned(PLAN.replace("prompts: [", 'prompts: ["a {} in front", ') + "keep: true\n")
    said = []
    outcome = running.run(second, Anywhere(), said.append)
    assert not [line for line in said if "no picture or video" in line]
    after = kept_by(second)
    assert after.items() >= before.items()
    keys = {clip.fingerprint for clips in outcome.clips.values() for clip in clips}
    assert {file.stem.rpartition("-")[2] for file in after if file.suffix == ".mp4"} >= keys


def of_kept(made, changed=""):
    """A plan that scores the videos that another one kept of its first row."""
    return f'{changed or PLAN[: PLAN.index("rows:")]}rows:\n  - {{name: theirs, videos: "{made.out}/videos/vcd"}}\n'


def test_kept_videos_are_scored_as_those_of_somebody_else(planned):
    made = planned(PLAN + "keep: true\n")
    scores = [clip.scores["alike"] for clip in running.run(made, Anywhere()).clips["vcd"]]
    theirs = running.run(planned(of_kept(made)), Anywhere()).clips["theirs"]
    assert [clip.scores["alike"] for clip in theirs] == pytest.approx(scores, abs=0.02)


def test_a_kept_video_is_not_scored_as_that_of_another_prompt_or_of_two_settings(planned):
    made = planned(PLAN + "keep: true\n")
    running.run(made, Anywhere())
    moved = PLAN[: PLAN.index("rows:")].replace("prompts: [", 'prompts: ["a {} in front", ')
    whys = dict(running.run(planned(of_kept(made, moved)), Anywhere()).failed)
    assert "is of the prompt 'a photo of {} here'" in whys["theirs, ann_01_0"]
    assert "there is no video" in whys["theirs, ann_03_0"]
    one = min((made.out / running.VIDEOS / "vcd").glob("*.mp4"))
    one.with_name(f"{one.stem[:-1]}{'1' if one.stem[-1] == '0' else '0'}.mp4").write_bytes(one.read_bytes())
    ((_, why),) = running.run(planned(of_kept(made)), Anywhere()).failed
    assert "for the same clip: take out all but one" in why


def test_a_row_of_any_name_has_a_folder(planned):
    one = planned(PLAN + '  - {method: vcd, gamma: 0.5, name: "a/b: <c>"}\nkeep: true\n')
    running.run(one, Anywhere())
    assert {file.name for file in (one.out / running.VIDEOS).iterdir()} == {"vcd", "lora", "vcd, a-b- -c-"}


def test_clips_made_before_the_plan_kept_them_are_counted(planned):
    said = []
    running.run(planned(), Anywhere(), said.append)
    assert not [line for line in said if "no picture or video" in line]
    more = PLAN.replace("sheets: 1", "sheets: 2")  # of the second prompt vcd drew two subjects
    running.run(planned(more), Anywhere(), said.append)
    assert said[-1].startswith("of 2 clips that were made before")
    running.run(planned(more + "keep: true\n"), Anywhere(), said.append)
    assert said[-1].startswith(f"of {COUNT} clips that were made before")
