"""Plans of the identity benchmark: what a file may ask for, what is said where it may not, and those that ship."""

import re
from pathlib import Path

import pytest
from anywhere import Anywhere

from benchmarks import identity
from benchmarks.clips import plan, running, worlds
from demo.benchmark import DemoWorld
from demo.people import NEW_PLACES

pytestmark = pytest.mark.usefixtures("pretended")


@pytest.fixture
def real_methods(monkeypatch):
    from benchmarks.baselines import METHODS

    monkeypatch.setattr(plan, "METHODS", METHODS)


# ---------------------------------------------------------------- what is allowed


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
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, captions: 3}', 4, "captions must be true or false"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {lr: 1}}', 4, "no setting 'lr'; it has rate"),
        (
            'prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: x}}',
            4,
            "rate must be a number above 0, not 'x'",
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
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: -1}}', 4, "rate must be a number above 0"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: 0}}', 4, "rate must be a number above 0"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, recipe: 1}', 4, "recipe is a table"),
        (
            'prompts: ["a {}"]\nrows:\n  - {masks: false, method: vcd, recipe: {mask_margin: 0}}',
            4,
            "without masks there",
        ),
        (
            'prompts: ["a {}"]\nrows:\n  - {method: vcd, masks: false, recipe: {context_weight: 1}}',
            4,
            "without masks there is no context_weight",
        ),
        ('prompts: ["a {}"]\nrows:\n  - {method: lora, recipe: {decay: 0}}', 4, "recipe is of vcd alone"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, recipe: {lr: 0}}', 4, "no 'lr'; a row may change context_weight"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, recipe: {decay: 2}}', 4, "decay must be a number from 0 to 1"),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, recipe: {hold_norm: 1}}', 4, "hold_norm must be true or false"),
        (
            'prompts: ["a {}"]\nrows:\n  - {method: vcd, recipe: {context_weight: -1}}',
            4,
            "context_weight must be a number from 0, not -1",
        ),
        ('prompts: ["a {}"]\nrows:\n  - {method: vcd, settings: {rate: true}}', 4, "rate must be a number above 0"),
        ('prompts: ["a {}"]\nrows:\n  - {name: x, videos: y, gamma: 0.4}', 4, "a row of videos takes no gamma"),
        ('prompts: ["a {}"]\nrows:\n  - {name: x, videos: nowhere}', 4, "there is no folder nowhere"),
        (f'prompts: ["a {{}}"]\nrows:\n  - {{method: vcd, name: {"x" * 96}}}', 4, "give it 100 letters at most"),
        (
            'prompts: ["a {}"]\nrows: [{method: vcd}]\nclaims: [{more: vcd, less: vcd, score: alike, published: y}]',
            4,
            "more and less are both vcd",
        ),
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
        ("world: demo\nclip: {frames: many}", 2, "frames must be a number above 0, not 'many'"),
        ("world: demo\nclip: {size: 256}", 2, "clips of the demo have frames, steps and cfg; size cannot be set"),
        ("world: demo\nsteps: 0", 2, "steps of learning must be a number, 1 or more, not 0"),
        ("world: [demo]", 1, "world must be one of demo"),
        ("world: demo\nclip: {cfg: .nan}", 2, "cfg must be a number above 0, not nan"),
        ("world: demo\nclip: {cfg: -7}", 2, "cfg must be a number above 0, not -7"),
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


def test_a_setting_that_counts_is_a_whole_number(planned, real_methods):
    text = 'prompts: ["a {}"]\nrows: [{method: lora, settings: {rank: RANK, rate: 1e-4}}]'
    assert planned(text.replace("RANK", "3")).rows[0].settings == {"rank": 3, "rate": 1e-4}
    for value in ("2.7", "0"):
        with pytest.raises(ValueError, match=f"line 3: rank must be a whole number, 1 or more, not {value}"):
            planned(text.replace("RANK", value))


def test_only_a_weight_may_be_0(planned, real_methods):
    text = 'prompts: ["a {}"]\nrows: [{method: dreambooth, settings: {prior_weight: 0}}]'
    assert planned(text).rows[0].settings == {"prior_weight": 0}


@pytest.mark.parametrize(
    ("out", "said"), [("", "out must be a text, not None"), (__file__, ".* is a file: give a folder")]
)
def test_out_is_a_folder(out, said, tmp_path):
    file = tmp_path / "plan.yaml"
    file.write_text(f'out: {out}\nprompts: ["a {{}}"]\nrows: [{{method: vcd}}]')
    with pytest.raises(ValueError, match=f"line 1: {said}"):
        plan.plan_of(plan.read_source(file), Anywhere())


def test_every_key_is_told_of_in_the_documents():
    text = (Path(__file__).parents[2] / "docs/benchmark.md").read_text(encoding="utf-8")
    keys = {"world", *plan.WORLD_KEYS, *plan.PLAN_KEYS, *plan.ROW_KEYS, *plan.CLAIM_KEYS}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


# ---------------------------------------------------------------- the plans that ship


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
    assert ablations == {
        "",
        "gamma 0",
        "gamma 0.2",
        "gamma 0.5",
        "no masks",
        "masks alone",
        "the paper's recipe",
        "+ face",
        "+ tiled",
        "style ink",
        "captions",
    }


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

    rows = plan.plan_of(plan.read_source(identity.SMALL.with_name("checkpoint.yaml")), Real()).rows
    assert len(rows) == 7
    assert rows[1].name == "textual inversion, style realistic, rate 0.002, 3000 steps"


def test_the_demo_s_prompts_are_different_ones_in_every_place_that_no_photo_shows():
    prompts = DemoWorld.prompts
    assert len(set(prompts)) == 25
    assert {place for prompt in prompts for place in NEW_PLACES if prompt.endswith(place)} == set(NEW_PLACES)
    assert len({prompt.partition(" {}")[0] for prompt in prompts[:5]}) == 5
