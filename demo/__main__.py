"""`make demo`: photos of one character -> ID token -> clips of exactly that character in other places.

Runs on the small model that ships with the project, in minutes on two cores and without a network.
"""

import argparse
import sys
from pathlib import Path

from vcd_core.standalone.argument_values import fraction, seed
from vcd_core.standalone.cli import exit_code

OUT = Path("out/demo")


def main() -> int:
    arguments = parse()

    def work() -> None:
        from .run import run

        run(arguments)

    return exit_code("demo", work, stopped="the demo begins anew when it is called again")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="demo",
        usage='make demo ARGS="[--character NAME | --photos FOLDER --noun NOUN] [--style ink] [--gamma G] [--seed N]"',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--character", choices=("mia", "otto", "bolt", "kit"), help="whose photos are used; else mia's")
    parser.add_argument("--photos", type=Path, help="your own photos instead; the model only knows its drawn world")
    parser.add_argument("--noun", choices=("woman", "man", "robot", "cat"), help="what your photos show")
    parser.add_argument("--style", choices=("soft", "ink"), default="soft", help="drawing style of the clips")
    parser.add_argument("--gamma", type=fraction, default=0.1, help="likeness of neighbouring frames' noise, 0 to 1")
    parser.add_argument("--seed", type=seed, default=0, help="the same seed gives the same clips")
    parser.add_argument("--out", type=Path, default=OUT, help="folder for what the demo makes")
    arguments = parser.parse_args()
    if (arguments.photos is None) != (arguments.noun is None):
        parser.error("--photos and --noun go together: what do the photos show, a woman, man, robot or cat?")
    if arguments.photos is not None and arguments.character:
        parser.error("--character and --photos name different photos: give one of them")
    arguments.character = arguments.character or "mia"
    return arguments


if __name__ == "__main__":
    sys.exit(main())
