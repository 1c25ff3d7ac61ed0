"""What the values of options may be: each reads one from its text, and says what is allowed."""

import argparse
import math
from pathlib import Path


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, not {text!r}")
    return int(text)


def count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, not {text!r}")
    return int(text)


def not_negative(text: str) -> float:
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number, 0 or more, not {text!r}")
    return value


def positive_float(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def at_least_one(text: str) -> float:
    return _at_least(1, text)


def frame_rate(text: str) -> float:
    return _at_least(0.001, text)


def fraction(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 2^64 - 1, not {text!r}")
    return int(text)


def picture_size(text: str) -> int:
    if not text.isdecimal() or int(text) < 64 or int(text) % 8:
        raise argparse.ArgumentTypeError(f"must be a multiple of 8, 64 or more, not {text!r}")
    return int(text)


def file_and_strength(text: str) -> tuple[Path, float]:
    file, _, number = text.rpartition(":")
    try:
        strength = float(number)
    except ValueError:
        return Path(text), 1.0
    if not math.isfinite(strength):
        raise argparse.ArgumentTypeError(f"the strength of {file} must be a number, not {number!r}")
    return Path(file), strength


def _at_least(least: float, text: str) -> float:
    value = positive_float(text)
    if value < least:
        raise argparse.ArgumentTypeError(f"must be a number, {least} or more, not {text!r}")
    return value


def _number(text: str) -> float:
    """NaN, which lies in no range, for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan
