"""The command line: `vcd`, or `python -m vcd_core`.

Exit codes: 0 done, 1 some of several clips could not be made or evaluated, 2 something the user can put right (one line
on stderr), 130 stopped with Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..memory import is_out_of_memory
from .parser import build_parser

OK, SOME_FAILED, USER_ERROR, STOPPED = 0, 1, 2, 130
OUT_OF_MEMORY = "the memory is full: close what else uses it, or lower the size, the frames or window, or the tile"

# Top-level modules that `pip install '.[standalone]'` brings.
STANDALONE_MODULES = {
    "accelerate",
    "av",
    "cv2",
    "diffusers",
    "matplotlib",
    "PIL",
    "psutil",
    "scipy",
    "torch",
    "torchvision",
    "tqdm",
    "transformers",
    "yaml",
}


class SomeFailed(Exception):
    """Some of several clips could not be made or evaluated."""


class MissingPackage(Exception):
    """An optional package is not installed."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    goes_on = arguments.command in ("train", "run")
    stopped = "it goes on when it is called again" if goes_on else "it begins anew when it is called again"
    return exit_code("vcd", lambda: run(arguments), stopped)


def exit_code(
    program: str, work: Callable[[], None], stopped: str = "what was done goes on when it is called again"
) -> int:
    """Does the work; what the user can put right becomes one line on stderr that begins with the program's name.

    Args:
        stopped: what becomes of the work when it is called again after Ctrl-C.
    """
    # While they wait, torch's threads spin by default for milliseconds, which beside other work on the same cores can
    # take many times as long; not spinning at all takes twice as long on cores of one's own. Read when torch is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        with explained_imports():
            work()
    except KeyboardInterrupt:
        sys.stderr.write(f"\nstopped: nothing was left half-written; {stopped}\n")
        return STOPPED
    except SomeFailed as error:
        sys.stderr.write(f"{program}: {error}\n")
        return SOME_FAILED
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        sys.stderr.write(f"{program}: {OUT_OF_MEMORY}\n")
        return USER_ERROR
    except (ValueError, OSError, MissingPackage, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):  # not one that somebody has explained
            raise
        lines = (" ".join(line.split()) for line in str(error).splitlines())
        sys.stderr.write(f"{program}: {'; '.join(line for line in lines if line)}\n")
        return USER_ERROR
    return OK


def run(arguments: argparse.Namespace) -> None:
    from . import commands

    getattr(commands, arguments.command)(arguments)


@contextmanager
def explained_imports() -> Iterator[None]:
    """Turns the absence of an optional package into what to install; any other missing module is a bug and stays one.

    Raises:
        MissingPackage: one of STANDALONE_MODULES is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in STANDALONE_MODULES:
            raise
        raise MissingPackage(
            f"the package {package} is not installed: pip install '.[standalone]' in a clone of ComfyUI-VCD"
        ) from error
