"""The identity benchmark: which clips a file asks for, that none is lost or made twice, and what is said of them."""

import json
import multiprocessing
import os
import re
import signal
import time

import numpy as np
import pytest
import torch
from anywhere import COUNT, FRAMES, PLAN, PRETENDED, Anywhere, Pretending
from PIL import Image

from benchmarks import identity
from benchmarks.clips import folders, plan, report, running, store, summary, worlds
from benchmarks.clips import learned as keeping
from demo.benchmark import DemoWorld
from demo.people import NEW_PLACES
from vcd_core.video import write_video


@pytest.fixture(autouse=True)
def _pretending(monkeypatch):
    monkeypatch.setattr(plan, "METHODS", PRETENDED)
    monkeypatch.setattr(keeping, "METHODS", PRETENDED)
    monkeypatch.setattr(Pretending, "learned", [])


@pytest.fixture
def planned(tmp_path):
    def make(text=PLAN, world=None):
        file = tmp_path / "plan.yaml"
        file.write_text(f"out: {tmp_path / 'out'}\n{text}", encoding="utf-8")
        return plan.plan_of(plan.read_source(file), world or Anywhere())

    return make


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
    with pytest.raises(KeyboardInterrupt):
        running.run(one, first)
    running.run(one, second)
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


def test_a_row_with_steps_of_its_own_learns_by_itself(planned):
    running.run(planned(PLAN + "  - {method: vcd, steps: 7}\n"), Anywhere())
    assert [steps for _, steps in Pretending.learned] == [200] * 4 + [7] * 2


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


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("rows: [{method: vcd}]\nprompt: 3", 3, "the key 'prompt' is not known here. Allowed are .*prompts: a number"),
        ('prompts: ["a {}"]\nrows:\n  - method: vcd\n    gama: 0', 5, "'gama' is not known here.*gamma: a number"),
        ('prompts: ["a {}"]\nrows:\n  - method: vdc', 4, "no method 'vdc'; there are vcd, lora"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, gamma: 2}', 4, "gamma must be a number from 0 to 1, not 2"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, stage: faces}', 4, "stage must be one of t2v, face, tiled"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, style: x}', 4, "style must be one of plain, ink"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, masks: 3}', 4, "masks must be true or false"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {lr: 1}}', 4, "no setting 'lr'; it has rate"),
        (
            'prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: x}}',
            4,
            "rate must be a number, 0 or more, not 'x'",
        ),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd}\n  - {method: vcd}', 5, "a second row is called vcd"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, prompts: 2}', 4, "prompts must be a number from 1 to 1, not 2"),
        ('prompts:\n  - "a {}"\n  - "a b"\nrows: [{method: vcd}]', 4, "a prompt is a text in one line with one {}"),
        ("prompts: 3\nrows: [{method: vcd}]", 2, "prompts must be a list of texts"),
        ('prompts: ["a {}"]\nsubjects: [ann, eve]\nrows: [{method: vcd}]', 3, "'eve' must be one of ann, bob, cat"),
        ('prompts: ["a {}"]\nsubjects: 4\nrows: [{method: vcd}]', 3, "subjects must be a number from 1 to 3, not 4"),
        ('prompts: ["a {}"]\nseeds: [1, 1]\nrows: [{method: vcd}]', 3, "seeds must be different ones"),
        ('prompts: ["a {}"]\nseeds: -1\nrows: [{method: vcd}]', 3, "seeds must be a number from 1"),
        ('prompts: ["a {}"]\nkeep: maybe\nrows: [{method: vcd}]', 3, "keep must be true or false"),
        ('prompts: ["a {}"]\nrows: vcd', 3, "rows must be a list"),
        ('prompts: ["a {}"]\nrows: [{method: vcd}]\nclaims: 3', 4, "claims must be a list"),
        ('prompts: ["a {}"]\nrows: [{method: vcd}]\nclaims: [{more: vcd}]', 4, "a table with the keys more, less"),
        (
            'prompts: ["a {}"]\nrows: [{method: vcd}]\nclaims: [{more: vcd, less: x, score: alike, published: y}]',
            4,
            "less must be one of vcd, not 'x'",
        ),
        ('prompts: ["a {}"]\nrows: [vcd]', 3, "a row is a table with the keys method"),
        ('prompts: ["a {}"]', 1, "rows must be a list"),
        ('prompts: ["a {}"]\nseeds: 1\nrows: [{method: vcd}]\nseeds: 2', 5, "the key 'seeds' is there twice: take"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, gamma: 0, gamma: 1}', 4, "the key 'gamma' is there twice"),
        ('prompts: ["a {}"]\nseeds: [1, x]\nrows: [{method: vcd}]', 3, "a seed must be a number from 0 to .*, not 'x'"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, name: }', 4, "name must be a text, not None"),
        ('prompts: ["a {}"]\nrows:\n  - {method: [vcd]}', 4, r"method must be a text, not \['vcd'\]"),
        ('prompts: ["a {}"]\nrows:\n  - {name: x, videos: 3}', 4, "videos must be a text, not 3"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: -1}}', 4, "rate must be a number, 0 or more"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: .nan}}', 4, "rate must be a number, 0 or more"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: true}}', 4, "rate must be a number, 0 or more"),
    ],
)
def test_a_malformed_plan_says_in_which_line_and_what_is_allowed(text, line, said, planned):
    with pytest.raises(ValueError, match=f"plan.yaml, line {line}: .*{said}"):
        planned(text)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("world: mars", 1, "world must be one of demo"),
        ("world: demo\nphotos: x", 2, "the world demo takes no photos"),
        ("world: demo\nclip: {fps: 3}", 2, "a clip has no 'fps'; it has frames, steps, cfg, size"),
        ("world: demo\nclip: {frames: many}", 2, "frames must be a number, not 'many'"),
        ("world: demo\nclip: {size: 256}", 2, "clips of the demo have frames, steps and cfg; size cannot be set"),
        ("world: demo\nsteps: 0", 2, "steps of learning must be a number, 1 or more, not 0"),
        ("world: [demo]", 1, "world must be one of demo"),
        ("world: demo\nclip: {cfg: .nan}", 2, "cfg must be a number, not nan"),
        ("photos: x", 1, "the key checkpoint is needed"),
        ("checkpoint: x\nphotos: y\nstyles: {base: z}", 3, "base is the checkpoint itself"),
        ("checkpoint: x\nphotos: y\nstyles: {ink: 3}", 3, "ink must be a text, not 3"),
        ("checkpoint: x\nphotos: y\nclip_scores: {}", 3, "clip_scores must be a text, not {}"),
        ("checkpoint: x\nphotos: nowhere", 2, "there is no folder nowhere"),
    ],
)
def test_a_world_that_cannot_be_opened_says_in_which_line_and_what_is_allowed(text, line, said, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"line {line}: .*{re.escape(said)}"):
        worlds.open_world(plan.read_source(file))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "is no YAML"),
        ("- a", "must be a table with the keys out"),
        ("rows: &a [*a]", "has a part that is within itself"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(content, said, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(content)
    with pytest.raises(ValueError, match=said):
        plan.read_source(file)
    with pytest.raises(ValueError, match="there is no file"):
        plan.read_source(tmp_path / "other.yaml")


# ---------------------------------------------------------------- the plans that ship


@pytest.fixture
def real_methods(monkeypatch):
    from benchmarks.baselines import METHODS

    monkeypatch.setattr(plan, "METHODS", METHODS)


def test_the_table_is_of_1600_clips_of_ours_and_160_of_every_other_row_paired_with_them(real_methods):
    table = plan.plan_of(plan.read_source(identity.SMALL.with_name("demo.yaml")), DemoWorld)
    made = {row.name: set() for row in table.rows}
    for one in running.wanted_clips(table):
        made[one.row.name].add((one.subject, one.prompt, one.seed))
    ours = made.pop("vcd")
    assert len(ours) == 16 * 25 * 4
    assert {len(clips) for clips in made.values()} == {16 * 5 * 2}
    assert all(clips < ours for clips in made.values())
    ablations = {row.ablation for row in table.rows if row.method == "vcd"}
    assert ablations == {"", "gamma 0", "gamma 0.2", "gamma 0.5", "no masks", "+ face", "+ tiled", "style ink"}


def test_rates_are_chosen_on_strangers_of_whom_the_table_shows_none(real_methods):
    rates, table = (
        plan.plan_of(plan.read_source(identity.SMALL.with_name(name)), DemoWorld)
        for name in ("rates.yaml", "demo.yaml")
    )
    assert not {one for row in rates.rows for one in row.subjects} & {one for row in table.rows for one in row.subjects}
    assert {row.method for row in rates.rows} == {row.method for row in table.rows} - {"noun", "caption"}


def test_what_make_bench_runs_is_60_clips(real_methods):
    assert sum(1 for _ in running.wanted_clips(plan.plan_of(plan.read_source(identity.SMALL), DemoWorld))) == 60


def test_the_plan_for_a_checkpoint_is_one(real_methods):
    class Real(Anywhere):
        styles = ("base", "realistic")

    assert len(plan.plan_of(plan.read_source(identity.SMALL.with_name("checkpoint.yaml")), Real()).rows) == 7


def test_the_demo_s_prompts_are_different_ones_in_every_place_that_no_photo_shows():
    prompts = DemoWorld.prompts
    assert len(set(prompts)) == 25
    assert {place for prompt in prompts for place in NEW_PLACES if prompt.endswith(place)} == set(NEW_PLACES)
    assert len({prompt.partition(" {}")[0] for prompt in prompts[:5]}) == 5


# ---------------------------------------------------------------- data sets as they are


def folder_of(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)


def test_dreambooth_s_data_set_is_read_as_it_is(tmp_path):
    folder_of(tmp_path, "backpack_dog", "bear_plushie", "dog")
    lines = ["Classes", "", "subject_name,class", "backpack_dog,backpack", "bear_plushie,stuffed animal", "dog,dog"]
    lines += ["", "Prompts", "", "prompt_list = [", "'a {0} {1} in the jungle'.format(unique_token, class_token),", "]"]
    (tmp_path / "prompts_and_classes.txt").write_text("\n".join(lines))
    found = {name: one.noun for name, one in folders.subjects_in(tmp_path).items()}
    assert found == {"backpack_dog": "backpack", "bear_plushie": "stuffed animal", "dog": "dog"}


def test_customconcept101_is_read_as_it_is(tmp_path):
    folder_of(tmp_path, "benchmark_dataset/pet_cat1", "prompts")
    entry = {"instance_prompt": "photo of a <new1> cat", "class_prompt": "cat", "prompt_filename": "prompts/cat.txt"}
    entries = [entry | {"instance_data_dir": f"./benchmark_dataset/{name}"} for name in ("pet_cat1", "not_there")]
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    found = folders.subjects_in(tmp_path)
    assert {name: one.noun for name, one in found.items()} == {"pet_cat1": "cat"}
    assert found["pet_cat1"].folder.is_dir()
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no folders"):
        folders.subjects_in(tmp_path)
    (tmp_path / "dataset.json").write_text('[{"class_prompt": "cat"}]')
    with pytest.raises(ValueError, match="is no list of CustomConcept101's subjects"):
        folders.subjects_in(tmp_path)


def test_any_folder_of_folders_will_do_once_it_is_said_what_they_show(tmp_path):
    folder_of(tmp_path, "ava", "tom")
    assert {one.noun for one in folders.subjects_in(tmp_path, "person").values()} == {"person"}
    assert folders.subjects_in(tmp_path, {"ava": "woman", "tom": "man"})["tom"].noun == "man"
    with pytest.raises(ValueError, match=r"nothing says what tom is: add nouns.*{tom: woman}"):
        folders.subjects_in(tmp_path, {"ava": "woman"})
    with pytest.raises(ValueError, match="nouns names eve"):
        folders.subjects_in(tmp_path, {"eve": "woman"})


# ---------------------------------------------------------------- what is said of the clips


def test_the_interval_is_that_of_a_mean_over_subjects():
    """Of many subjects it is the normal one, however many clips each has; clips of one subject count as one."""
    rng = np.random.default_rng(5)
    means = rng.normal(2.0, 1.0, 200)
    values = [(f"s{number}", mean + side) for number, mean in enumerate(means) for side in (-9, 9)]
    found = summary.figure(values)
    half = 1.96 * means.std() / len(means) ** 0.5
    assert found.mean == pytest.approx(means.mean())
    assert (found.low, found.high) == pytest.approx((means.mean() - half, means.mean() + half), abs=0.1 * half)
    assert (found.subjects, found.clips) == (200, 400)
    assert summary.figure([]) is None


def scored(subject, prompt, seed, **scores):
    return store.Scored("f", "m", "", subject, prompt, seed, scores, 0.0)


def test_differences_are_over_the_clips_that_both_have():
    ours = [scored("ann", "p", 0, alike=0.5), scored("ann", "q", 0, alike=9.0), scored("bob", "p", 0, alike=0.9)]
    theirs = [scored("bob", "p", 0, alike=0.4), scored("ann", "p", 0, alike=0.4), scored("bob", "p", 1, alike=7.0)]
    found = summary.differences(ours, theirs, ("alike", "flicker"))
    assert found["alike"].mean == pytest.approx((0.1 + 0.5) / 2)
    assert found["alike"].clips == 2
    assert found["flicker"] is None


@pytest.mark.parametrize(
    ("low", "high", "subjects", "more", "less"),
    [
        (0.1, 0.3, 6, "above", "below"),
        (-0.3, -0.1, 6, "below", "above"),
        (-0.1, 0.1, 6, "level", "level"),
        (0.1, 0.3, 5, "unknown", "unknown"),
    ],
)
def test_a_verdict_needs_an_interval_without_0_and_enough_subjects(low, high, subjects, more, less):
    found = dict.fromkeys(Anywhere.scores, summary.Figure((low + high) / 2, low, high, subjects, subjects))
    assert summary.verdicts(found, Anywhere.scores) == {"alike": more, "flicker": less}


def test_chance_alone_gives_a_verdict_no_more_often_than_one_time_in_twenty_by_the_signs():
    """All differences to one side are 2 of 2^n equally likely signs, and then no resampled mean is on the other."""
    assert 2 / 2**summary.FEWEST < 0.05 < 2 / 2 ** (summary.FEWEST - 1)
    one_side = summary.figure((f"s{number}", 0.1 + number) for number in range(summary.FEWEST))
    assert one_side.low > 0
    assert summary.verdict(one_side) == "above"


def test_the_report_tells_every_row_what_is_missing_and_what_is_stored(planned):
    def fail(number):
        if number == 3:
            raise ValueError("<too> large")

    one, world = planned(), Anywhere(fail)
    outcome = running.run(one, world)
    page = report.write_report(one, world, outcome, "python -m x").page.read_text(encoding="utf-8")
    mean = np.mean(
        [np.mean([c.scores["alike"] for c in outcome.clips["lora"] if c.subject == s]) for s in ("ann", "bob")]
    )
    assert f"<td>{mean:.3f} [" in page
    assert "<td>7 of 2</td>" in page
    assert "vcd, ann_02_0: &lt;too&gt; large" in page
    assert "<td>lora</td>\n<td>1</td>" in page
    assert "than lora: not to be told (fewer than 6 subjects) in <em>alike</em>, <em>flicker</em>" in page
    assert "alike ↑: how bright" in page
    for name in re.findall(r'src="([^"]+)"', page):
        assert (one.out / name).stat().st_size > 500
    assert "sheet_01.jpg" in page
    assert "sheet_02.jpg" not in page


class Six(Anywhere):
    subjects = ("ann", "bob", "cat", "dan", "eve", "fay")


def rows_of(text, head):
    """The lines of the first table of Markdown under a heading."""
    table = text.split(f"## {head}\n", 1)[1].split("\n|", 1)[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_rows_are_told_over_the_clips_that_all_have(planned):
    """Of two prompts the second one's pictures score more, and only one row drew them."""
    one, world = planned(), Anywhere()
    outcome = running.run(one, world)
    report.write_report(one, world, outcome, "python -m x")
    text = (one.out / report.TEXT).read_text(encoding="utf-8")
    vcd, lora = rows_of(text, "Methods")
    assert vcd[1:] == lora[1:], "the same subjects, prompts and seeds, and here that is all a score follows from"
    assert vcd[-1] == "4 of 2"
    (more,) = rows_of(text.split("where those are more")[1].join(["## more\n", ""]), "more")
    assert (more[0], more[-1]) == ("vcd", "8 of 2")
    assert float(more[1].split()[0]) > float(vcd[1].split()[0])


def test_what_was_published_of_a_row_stands_beside_its_figures(planned):
    text = PLAN.replace("{method: lora", "{method: lora, published: 'DINO 0.522 | so'")
    one, world = planned(text), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    text = (one.out / report.TEXT).read_text(encoding="utf-8")
    vcd, lora = rows_of(text.replace("\\|", "/"), "Methods")
    assert (vcd[-2:], lora[-2:]) == (["4 of 2", "–"], ["4 of 2", "DINO 0.522 / so"])
    assert len(rows_of(text, "vcd minus the others")[0]) == len(vcd) - 1


@pytest.mark.parametrize(
    ("more", "less", "said"),
    [
        ("vcd, gamma 0.5", "vcd", "holds"),
        ("vcd", "vcd, gamma 0.5", "the other way round"),
        ("lora", "vcd", "not told apart"),
    ],
)
def test_a_published_ordering_is_told_beside_what_was_found(more, less, said, planned):
    claim = f"claims:\n  - {{more: '{more}', less: '{less}', score: alike, published: 'A_B 0.5 | 0.4'}}\n"
    text, world = PLAN.replace("subjects: 2", "subjects: 6") + "  - {method: vcd, gamma: 0.5}\n" + claim, Six()
    one = planned(text, world)
    page = report.write_report(one, world, running.run(one, world), "python -m x").page.read_text(encoding="utf-8")
    line = page.split("Published orderings")[1].split("<tbody>")[1].split("</tr>")[0]
    assert f"{more} &gt; {less}" in line
    assert "A_B 0.5 | 0.4" in line
    assert f"<td>{12 if 'lora' in (more, less) else 24} of 6</td>" in line
    assert said in line


def test_the_plot_is_over_the_clips_that_all_rows_have(planned, monkeypatch):
    drawn = []
    monkeypatch.setattr(report, "_plot", lambda path, table, scores: (drawn.append(table), path.touch()))
    one, world = planned(), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    (table,) = drawn
    assert table["vcd"]["alike"] == table["lora"]["alike"]
    assert table["vcd"]["alike"].clips == 4


def test_a_sheet_begins_with_a_photo_of_each_subject(planned):
    one, world = planned(), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    with Image.open(one.out / "sheet_01.jpg") as sheet:
        width, height = sheet.size
        levels = [sheet.getpixel((report.LABEL + 2 * report.CELL * column + 9, 29))[0] / 255 for column in range(2)]
    assert (width, height) == (report.LABEL + 4 * report.CELL, 20 + 3 * report.CELL)
    assert levels == pytest.approx([0, 1 / 3], abs=0.02)


def test_a_run_of_which_nothing_could_be_made_has_a_report_that_says_why(planned, tmp_path):
    def fail(number):
        raise ValueError("no model")

    one, world = planned(), Anywhere(fail)
    outcome = running.run(one, world)
    written = report.write_report(one, world, outcome, "python -m x")
    page = written.page.read_text(encoding="utf-8")
    assert "There is no clip yet." in page
    assert page.count("no model") == COUNT
    report.copy_report(one, outcome, written, tmp_path / "docs")
    assert sorted(path.name for path in (tmp_path / "docs").iterdir()) == ["README.md", "clips.csv"]


def test_the_report_is_copied_with_every_clip_and_picture(planned, tmp_path):
    """And with no clip of what the plan asked for before."""
    running.run(planned(PLAN.replace("rows:", "rows:\n  - {method: vcd, gamma: 0.7}")), Anywhere())
    one, world = planned(), Anywhere()
    outcome = running.run(one, world)
    written = report.write_report(one, world, outcome, "python -m x")
    report.copy_report(one, outcome, written, tmp_path / "docs/evaluation")
    text = (tmp_path / "docs/evaluation/README.md").read_text(encoding="utf-8")
    for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (tmp_path / "docs/evaluation" / name).read_bytes() == (one.out / name).read_bytes()
    assert "sheet_01.jpg" in text
    assert len((tmp_path / "docs/evaluation/clips.csv").read_text(encoding="utf-8").splitlines()) == 1 + COUNT


@pytest.mark.parametrize("keep", [False, True])
def test_clips_are_kept_only_if_the_plan_says_so(keep, planned):
    one = planned(PLAN + f"keep: {str(keep).lower()}\n")
    running.run(one, Anywhere())
    assert len(list(one.out.rglob("*.mp4"))) == (COUNT if keep else 0)


def test_clips_made_before_the_plan_kept_them_are_counted(planned):
    said = []
    running.run(planned(), Anywhere(), said.append)
    assert not [line for line in said if "no picture or video" in line]
    more = PLAN.replace("sheets: 1", "sheets: 2")  # of the second prompt vcd drew two subjects
    running.run(planned(more), Anywhere(), said.append)
    assert said[-1].startswith("of 2 clips that were made before")
    running.run(planned(more + "keep: true\n"), Anywhere(), said.append)
    assert said[-1].startswith(f"of {COUNT} clips that were made before")


def test_as_a_benchmark_less_is_better_over_the_clips_of_both():
    ours = [scored("ann", "p", 0, similarity=0.9), scored("ann", "q", 0, similarity=0.1)]
    (alike,) = identity.cases_of({"vcd": ours, "lora": [scored("ann", "p", 0, similarity=0.6)], "neti": []})
    assert (alike["case"], alike["unit"]) == ("unlikeness, lora", "1")
    assert (alike["ours"], alike["peer"], alike["ratio"]) == pytest.approx((0.1, 0.4, 0.25))


@pytest.mark.parametrize(("value", "said"), [("2.7", "a whole number, 0 or more, not 2.7"), ("3", "")])
def test_a_setting_that_counts_is_a_whole_number(value, said, planned, real_methods):
    text = f'prompts: ["a {{}}"]\nrows: [{{method: lora, settings: {{rank: {value}, rate: 1e-4}}}}]'
    if said:
        with pytest.raises(ValueError, match=f"line 3: rank must be {said}"):
            planned(text)
    else:
        assert planned(text).rows[0].settings == {"rank": 3, "rate": 1e-4}


def test_out_is_a_text(tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text('out:\nprompts: ["a {}"]\nrows: [{method: vcd}]')
    with pytest.raises(ValueError, match="line 1: out must be a text, not None"):
        plan.plan_of(plan.read_source(file), Anywhere())
