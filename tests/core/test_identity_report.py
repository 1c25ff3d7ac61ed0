"""What the identity benchmark says of its clips: intervals, differences, verdicts, and the report."""

import re
import sys

import numpy as np
import pytest
from anywhere import COUNT, PLAN, Anywhere
from PIL import Image
from scipy import stats

from benchmarks import identity
from benchmarks.clips import report, running, store, summary, worlds
from vcd_core.metrics import interval_95

pytestmark = pytest.mark.usefixtures("pretended")


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


def test_the_interval_of_few_subjects_is_as_wide_as_student_s_t_says():
    """Of six: 2.5706 standard errors, which the bootstrap takes for smaller by the root of 5/6 than they are."""
    below = stats.norm.cdf(-2.5706 * 1.2**0.5)
    assert interval_95(np.linspace(0, 1, 100001), 6) == pytest.approx((below, 1 - below), abs=2e-5)
    assert interval_95(np.linspace(0, 1, 100001)) == pytest.approx((0.025, 0.975))
    values = np.random.default_rng(6).normal(2.0, 1.0, 16)
    found = summary.figure((f"s{number}", value) for number, value in enumerate(values))
    low, high = stats.t.interval(0.95, 15, values.mean(), stats.sem(values))
    assert found.high - found.low == pytest.approx(high - low, rel=0.05)
    alone = summary.figure([("ann", 0.5), ("ann", 0.7)])
    assert (alone.low, alone.mean, alone.high) == pytest.approx((0.6, 0.6, 0.6))


def test_the_interval_is_the_same_in_whatever_order_clips_come():
    values = [(f"s{number % 8}", number**0.5 / 7) for number in range(80)]
    assert summary.figure(values) == summary.figure(values[::-1])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ((0.0374, 0.0004, 0.0776), "+0.0374 [+0.0004, +0.0776]"),
        ((0.0374, 0.0, 0.0776), "+0.037 [+0.000, +0.078]"),
        ((0.0374, -1e-17, 0.0776), "+0.037 [+0.000, +0.078]"),
        ((0.0374, -0.00002, 0.0776), "+0.03740 [-0.00002, +0.07760]"),
        ((0.5, 0.4, 0.6), "+0.500 [+0.400, +0.600]"),
        ((-0.004, -0.0082, -0.00002), "-0.00400 [-0.00820, -0.00002]"),
    ],
)
def test_on_which_side_of_0_an_interval_ends_is_to_be_seen(values, told):
    assert report.shown(summary.Figure(*values, 16, 160), signed=True) == told


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


def test_as_a_benchmark_less_is_better_over_the_clips_of_both():
    ours = [scored("ann", "p", 0, similarity=0.9), scored("ann", "q", 0, similarity=0.1)]
    rows = {"vcd": ours, "lora": [scored("ann", "p", 0, similarity=0.6)], "neti": []}
    (alike,) = identity.cases_of(rows, ["similarity", "place right"])
    assert (alike["case"], alike["unit"]) == ("1 - similarity, lora", "1")
    assert (alike["ours"], alike["peer"], alike["ratio"]) == pytest.approx((0.1, 0.4, 0.25))


# ---------------------------------------------------------------- the report


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
    text = PLAN.replace("{method: lora", '{method: lora, published: "DINO\'s 0.522 | so"')
    one, world = planned(text), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    text = (one.out / report.TEXT).read_text(encoding="utf-8")
    vcd, lora = rows_of(text.replace("\\|", "/"), "Methods")
    assert (vcd[-2:], lora[-2:]) == (["4 of 2", "–"], ["4 of 2", "DINO's 0.522 / so"])
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


def test_the_report_names_every_seed(planned):
    text = PLAN.replace("seeds: 2", "seeds: [7, 3, 8]").replace("prompts: 1}", "prompts: 1, seeds: 1}")
    one, world = planned(text), Anywhere()
    page = report.write_report(one, world, running.run(one, world), "python -m x").page.read_text(encoding="utf-8")
    assert "rows of 2 subjects x 2 prompts x 3 seeds (7, 3, 8); 2 subjects x 1 prompt x 1 seed (7)." in page


def test_a_report_of_one_row_has_one_table(planned):
    one, world = planned(PLAN.split("  - {method: lora")[0]), Anywhere()
    page = report.write_report(one, world, running.run(one, world), "python -m x").page.read_text(encoding="utf-8")
    assert page.count("<table>") == 2  # and of what is stored
    assert "<h2>Scores</h2>" in page


def test_packages_that_are_missing_are_named_before_the_first_clip(monkeypatch, capsys):
    monkeypatch.setattr(identity, "find_spec", lambda module: None)
    monkeypatch.setattr(sys, "argv", ["identity"])
    assert identity.main() == 2
    assert "needs the packages Markdown, peft, which are not installed: pip install" in capsys.readouterr().err


@pytest.fixture
def command(monkeypatch, tmp_path):
    """The benchmark's exit code for a plan in a world."""

    def call(world, *options):
        (tmp_path / "plan.yaml").write_text(f"out: {tmp_path / 'out'}\n{PLAN}", encoding="utf-8")
        monkeypatch.setattr(worlds, "open_world", lambda source: world)
        monkeypatch.setattr(sys, "argv", ["identity", str(tmp_path / "plan.yaml"), *options])
        return identity.main()

    return call


def test_a_run_that_is_stopped_reports_what_is_there(command, tmp_path):
    """What an earlier run left of rows that it did not come to, too; documents wait for the whole."""

    def stop(number):
        if number == 3:
            raise KeyboardInterrupt

    assert command(Anywhere()) == 0
    file = tmp_path / "out/clips.csv"
    header, *lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([header, *(line for line in lines if ",vcd," not in line)]), encoding="utf-8")
    assert command(Anywhere(stop), "--docs", str(tmp_path / "docs")) == 130
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert f": {2 + 4} clips of {COUNT}, as it was stopped" in page
    assert not (tmp_path / "docs").exists()


def test_a_run_that_is_stopped_before_anything_is_known_ends_at_once(command, tmp_path, monkeypatch):
    def stop(self, style):
        raise KeyboardInterrupt

    monkeypatch.setattr(Anywhere, "model", stop)
    assert command(Anywhere()) == 130
    assert not (tmp_path / "out/index.html").exists()


def test_the_report_is_not_put_in_place_of_the_plan_s_own_clips(command, tmp_path, capsys):
    world = Anywhere()
    assert command(world, "--docs", str(tmp_path / "here/../out")) == 2
    assert "is the plan's own folder" in capsys.readouterr().err
    assert world.made == 0


def test_rows_whose_files_are_gone_stand_in_the_table_of_sizes(planned):
    one, world = planned(), Anywhere()
    outcome = running.run(one, world)
    for file in (one.out / running.LEARNED).glob("lora*"):
        file.unlink()
    again = running.run(one, world)
    assert outcome.parameters == {"vcd": 1, "lora": 1}
    text = report.write_report(one, world, again, "python -m x").page.with_name("README.md").read_text(encoding="utf-8")
    assert "| lora | – | – |\n\n–: what it learned is not in this folder" in text


def test_a_sheet_begins_with_a_photo_of_each_subject(planned):
    one, world = planned(), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    with Image.open(one.out / "sheet_01.jpg") as sheet:
        width, height = sheet.size
        levels = [sheet.getpixel((report.LABEL + 2 * report.CELL * column + 9, 29))[0] / 255 for column in range(2)]
    assert (width, height) == (report.LABEL + 4 * report.CELL, 20 + 3 * report.CELL)
    assert levels == pytest.approx([0, 1 / 3], abs=0.02)


def test_sheets_show_as_many_subjects_as_the_plan_says(planned):
    """And of no other is a picture kept, which nobody would see."""
    one, world = planned(PLAN + "sheet_subjects: 1\n"), Anywhere()
    report.write_report(one, world, running.run(one, world), "python -m x")
    with Image.open(one.out / "sheet_01.jpg") as sheet:
        assert sheet.size == (report.LABEL + 2 * report.CELL, 20 + 3 * report.CELL)
    assert len(list((one.out / running.FRAMES).iterdir())) == len(one.rows)


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
