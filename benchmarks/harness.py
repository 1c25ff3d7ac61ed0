"""What every benchmark shares: alternating timing, peak live memory, and the report."""

import argparse
import json
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def alternating_medians(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median wall seconds of each, measured in turn so that a busy machine slows both; one warm-up each."""
    ours(), peer()
    seconds: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(rounds):
        for side, call in enumerate((ours, peer)):
            start = time.perf_counter()
            call()
            seconds[side].append(time.perf_counter() - start)
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def peak_live_bytes(call: Callable[[], object]) -> int:
    """The most bytes of tensor storages alive at once during the call that were not alive before it."""
    with LiveStorages() as live:
        result = call()
    del result
    return live.peak


class LiveStorages(TorchDispatchMode):
    """What is inside of it is watched: `peak` is the most bytes of new tensor storages alive at once.

    A dispatch mode sees every operator's outputs. A storage first seen there counts from then until it is
    freed, which a weak reference to it reports; storages that came in with arguments do not count. Scratch
    memory inside one operator is not seen, on either side of a comparison.
    """

    def __init__(self):
        super().__init__()
        self.bytes = self.peak = 0
        self._seen: dict[int, weakref.finalize] = {}
        self._foreign: dict[int, torch.UntypedStorage] = {}

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        for storage in _storages((args, kwargs)):
            if storage._cdata not in self._seen:  # it was there before the call: never counts
                self._foreign[storage._cdata] = storage
        result = operator(*args, **(kwargs or {}))
        for storage in _storages(result):
            key = storage._cdata
            if key not in self._seen and key not in self._foreign:
                self.bytes += storage.nbytes()
                self._seen[key] = weakref.finalize(storage, self._freed, key, storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return result

    def _freed(self, key: int, size: int) -> None:
        self.bytes -= size
        del self._seen[key]


def _storages(values) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def case(name: str, unit: str, ours: float, peer: float, target: float) -> dict:
    return {"case": name, "unit": unit, "ours": ours, "peer": peer, "ratio": ours / peer, "target": target}


def as_object(name: str, cases: list[dict]) -> dict:
    """For programs."""
    return {"name": name, "machine": _machine(), "cases": cases}


def as_table(name: str, cases: list[dict]) -> str:
    """For people."""
    lines = [f"{name} on {_machine()}", f"{'case':34}{'unit':>6}{'ours':>10}{'peer':>10}{'ratio':>8}{'target':>8}"]
    lines += [
        f"{row['case']:34}{row['unit']:>6}{row['ours']:10.4g}{row['peer']:10.4g}"
        f"{row['ratio']:8.2f}{row['target']:8.2f}{'' if row['ratio'] <= row['target'] else '  missed'}"
        for row in cases
    ]
    return "\n".join([*lines, ""])


def _machine() -> str:
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {os.cpu_count()} CPUs{gpu}, torch {torch.__version__}"


def main(name: str, run: Callable[[], list[dict]]) -> None:
    """Runs a benchmark and prints a table, or with --json exactly one object."""
    parser = argparse.ArgumentParser(description=f"benchmarks.{name}: ours against a peer, lower is better")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    as_json = parser.parse_args().json
    cases = run()
    print(json.dumps(as_object(name, cases)) if as_json else as_table(name, cases), end="\n" if as_json else "")
