"""The identity benchmark: python -m benchmarks.identity [PLAN.yaml].

Clips of methods x subjects x prompts x seeds, their scores in OUT/clips.csv and a report in OUT/index.html. A run that
was stopped, whenever and however, goes on where it was: no clip is made twice, none is left out. Without a file it runs
a small plan, ours beside Textual Inversion on the demo model, whose tokens are kept from one run to the next.

    python -m benchmarks.identity benchmarks/plans/demo.yaml
    python -m benchmarks.identity --sizes      what each method trains and stores on Stable Diffusion 1.5
"""

import argparse
import json
import shlex
import sys
from pathlib import Path

from benchmarks.harness import as_object, as_table, case
from vcd_core.standalone.cli import SomeFailed, exit_code

SMALL = Path(__file__).with_name("plans") / "small.yaml"
TARGET = 1.0  # ours at least as good as the peer
ERRORS = {"similarity": "unlikeness", "place right": "place wrong"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, nargs="?", default=SMALL, metavar="PLAN", help="a YAML file")
    parser.add_argument("--sizes", action="store_true", help="only count what each method trains and stores")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    return exit_code("benchmarks.identity", lambda: run_plan(arguments))


def run_plan(arguments: argparse.Namespace) -> None:
    """Makes what is missing of a plan, and its report.

    Raises:
        SomeFailed: how many clips could not be made; the report says why.
        ValueError: the file, or what all of it needs, is not as it should be.
    """
    if arguments.sizes:
        from benchmarks.baselines import sizes

        sys.stdout.write(sizes.as_text() + "\n")
        return
    from benchmarks.clips.plan import plan_of, read_source
    from benchmarks.clips.report import write_report
    from benchmarks.clips.running import run, say, wanted_clips
    from benchmarks.clips.summary import figures
    from benchmarks.clips.worlds import open_world

    source = read_source(arguments.plan)
    world = open_world(source)
    plan = plan_of(source, world)
    outcome = run(plan, world, say)
    page = write_report(plan, world, outcome, shlex.join(["python", "-m", "benchmarks.identity", str(arguments.plan)]))
    found = {name: figures(clips, world.scores) for name, clips in outcome.clips.items()}
    cases = cases_of(found, outcome.sizes)
    sys.stdout.write(json.dumps(as_object("identity", cases)) + "\n" if arguments.json else as_table("identity", cases))
    say(f"{page}: {sum(map(len, outcome.clips.values()))} of {sum(1 for _ in wanted_clips(plan))} clips")
    if outcome.failed:
        raise SomeFailed(f"{len(outcome.failed)} clips could not be made: {page} says which and why")


def cases_of(found: dict[str, dict], sizes: dict[str, float]) -> list[dict]:
    """The first row beside each other one, as every benchmark tells it: less is better."""
    first, *others = found
    cases = []
    for other in others:
        for score, called in ERRORS.items():
            ours, peer = (found[name].get(score) for name in (first, other))
            if ours and peer and peer.mean < 1:
                cases.append(case(f"{called}, {other}", "1", 1 - ours.mean, 1 - peer.mean, TARGET))
        if first in sizes and other in sizes:
            cases.append(case(f"file, {other}", "B", sizes[first], sizes[other], TARGET))
    return cases


if __name__ == "__main__":
    sys.exit(main())
