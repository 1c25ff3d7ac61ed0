"""The identity benchmark: python -m benchmarks.identity [PLAN.yaml].

Clips of methods x subjects x prompts x seeds, their scores in OUT/clips.csv and a report in OUT/index.html. A run that
was stopped, whenever and however, goes on where it was: no clip is made twice, none is left out. Without a file it runs
a small plan, ours beside Textual Inversion on the demo model, whose tokens are kept from one run to the next.

    python -m benchmarks.identity benchmarks/plans/demo.yaml
    python -m benchmarks.identity benchmarks/plans/demo.yaml --ray    # on all cores, or GPUs, of a Ray cluster
    python -m benchmarks.identity --sizes      what each method trains and stores on Stable Diffusion 1.5
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import as_object, as_table, case
from vcd_core.standalone.cli import MissingPackage, SomeFailed, exit_code
from vcd_core.wording import counted

if TYPE_CHECKING:
    from benchmarks.clips.running import Made, Work
    from benchmarks.clips.store import Scored
    from benchmarks.clips.world import World

SMALL = Path(__file__).with_name("plans") / "small.yaml"
TARGET = 1.0  # ours at least as good as the peer
PACKAGES = {"markdown": "Markdown", "peft": "peft"}
"""Modules that reports and methods need, beyond the extra `standalone`, and where they come from."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path, nargs="?", default=SMALL, metavar="PLAN", help="a YAML file")
    parser.add_argument(
        "--ray",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="make the clips on the Ray cluster of this address, or on one that runs here, or else on this machine",
    )
    parser.add_argument("--sizes", action="store_true", help="only count what each method trains and stores")
    parser.add_argument("--docs", type=Path, metavar="FOLDER", help="put the report and clips.csv there as well")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    arguments = parser.parse_args()
    return exit_code("benchmarks.identity", lambda: run_plan(arguments))


def run_plan(arguments: argparse.Namespace) -> None:
    """Makes what is missing of a plan, and its report, after Ctrl-C as well.

    Raises:
        MissingPackage: something is not installed, which it says before the first clip.
        SomeFailed: how many clips could not be made; the report says why.
        ValueError: the file, or what all of it needs, is not as it should be.
    """
    if missing := [package for module, package in PACKAGES.items() if find_spec(module) is None]:
        raise MissingPackage(
            f"the benchmark needs the packages {', '.join(missing)}, which are not installed: "
            "pip install '.[standalone,benchmark]' in a clone of ComfyUI-VCD"
        )
    if arguments.sizes:
        from benchmarks.baselines import sizes

        sys.stdout.write((sizes.as_json() if arguments.json else sizes.as_text()) + "\n")
        return
    from benchmarks.baselines.sizes import readable
    from benchmarks.clips.plan import plan_of, read_source
    from benchmarks.clips.report import check_elsewhere, copy_report, write_report
    from benchmarks.clips.running import make_here, run, say, wanted_clips
    from benchmarks.clips.worlds import open_world

    source = read_source(arguments.plan)
    make = make_here if arguments.ray is None else on_ray(arguments.ray, partial(open_world, source))
    world = open_world(source)
    plan = plan_of(source, world)
    if arguments.docs is not None:
        check_elsewhere(plan, arguments.docs)
    outcome = run(plan, world, say, make)
    command = shlex.join(["python", "-m", "benchmarks.identity", str(arguments.plan)])
    report = write_report(plan, world, outcome, command)
    if arguments.docs is not None and not outcome.stopped:
        copy_report(plan, outcome, report, arguments.docs)
    cases = cases_of(outcome.clips, [name for name, better in world.scores.items() if better > 0])
    if arguments.json:
        print(json.dumps(as_object("identity", cases)))
    elif cases:
        print(as_table("identity", cases), end="")
    for name, count in outcome.parameters.items():
        say(f"{name}: {count:,} trained numbers, a file of {readable(outcome.sizes[name])}")
    say(f"{report.page}: {sum(map(len, outcome.clips.values()))} of {sum(1 for _ in wanted_clips(plan))} clips")
    if outcome.stopped:
        raise KeyboardInterrupt
    if outcome.failed:
        raise SomeFailed(f"{counted(len(outcome.failed), 'clip')} could not be made: {report.page} says which and why")


def on_ray(address: str, open_world: Callable[[], "World"]) -> Callable[["Work"], Iterator["Made"]]:
    """What makes clips on a Ray cluster; "" for one that is here.

    Raises:
        MissingPackage: ray is not installed.
        ValueError: the address is a plan's file.
    """
    if address.endswith((".yaml", ".yml")):
        raise ValueError(f"--ray takes an address, not the plan: put {address} before --ray")
    try:
        from benchmarks.clips.cluster import make_on
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise MissingPackage(
            "--ray needs the package ray, which is not installed: pip install '.[ray]' in a clone of ComfyUI-VCD"
        ) from error
    return make_on(address or None, open_world)


def cases_of(clips: Mapping[str, Sequence["Scored"]], scores: Sequence[str]) -> list[dict]:
    """The first row beside each other one over the clips of both, as every benchmark tells it: less is better.

    Args:
        scores: of which more is better, 1 at most.
    """
    from benchmarks.clips.summary import figures, pairs

    first, *others = clips
    cases = []
    for other in others:
        both = list(zip(*pairs(clips[first], clips[other]), strict=True))
        ours, peer = (figures(some, scores) for some in both) if both else ({}, {})
        for score in scores:
            if ours.get(score) and peer.get(score) and peer[score].mean < 1:
                cases.append(case(f"1 - {score}, {other}", "1", 1 - ours[score].mean, 1 - peer[score].mean, TARGET))
    return cases


if __name__ == "__main__":
    sys.exit(main())
