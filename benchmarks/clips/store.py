"""One line of CSV a clip, which is there whole or not at all, whenever the program is killed."""

import csv
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYS = ("fingerprint", "method", "ablation", "subject", "prompt", "seed")
NEWLINE = b"\n"
Asked = tuple[str, str, int]
"""What is the same of clips that are compared: subject, prompt and seed."""


@dataclass(frozen=True)
class Scored:
    """A clip that was made and scored.

    Attributes:
        fingerprint: of all that the clip and its scores follow from.
        scores: those that it has.
        seconds: that making and scoring took.
    """

    fingerprint: str
    method: str
    ablation: str
    subject: str
    prompt: str
    seed: int
    scores: Mapping[str, float]
    seconds: float

    @property
    def asked(self) -> Asked:
        return self.subject, self.prompt, self.seed


class Store:
    """A CSV file that grows by a line a clip.

    A line counts once it ends. What a killed program left of its last one is cut off when the file is opened again, so
    a clip is either in it or to be made.

    Args:
        scores: names of the columns behind `KEYS`; "seconds" comes last.

    Raises:
        ValueError: the file is of other columns.
    """

    def __init__(self, path: Path, scores: Sequence[str]) -> None:
        self.path, self.names = path, tuple(scores)
        self.columns = (*KEYS, *self.names, "seconds")
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(NEWLINE) + 1]
        header = _line(self.columns)
        if whole and not whole.startswith(header):
            raise ValueError(f"{path} has other columns: move it away, or give another folder for out")
        if whole != content:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        if not whole:
            self._append(header)

    def __iter__(self) -> Iterator[Scored]:
        """In the order in which they were made."""
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                scores = {name: float(row[name]) for name in self.names if row[name]}
                keys = {name: row[name] for name in KEYS} | {"seed": int(row["seed"])}
                yield Scored(**keys, scores=scores, seconds=float(row["seconds"]))

    def add(self, clip: Scored) -> None:
        """On disk when this returns."""
        scores = [repr(float(clip.scores[name])) if name in clip.scores else "" for name in self.names]
        self._append(_line([*(getattr(clip, name) for name in KEYS), *scores, f"{clip.seconds:.1f}"]))

    def _append(self, line: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within it no other program adds to this file; raises ValueError where one does already."""
        import fcntl

        with self.path.with_suffix(".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ValueError(f"another run writes to {self.path}: wait for it, or give another out") from error
            yield


def lines_of(path: Path, fingerprints: Collection[str]) -> bytes:
    """Of a store's file what is of these clips, below its header; no other run need be over."""
    header, *lines = path.read_bytes().splitlines(keepends=True)
    return header + b"".join(line for line in lines if line.split(b",", 1)[0].decode() in fingerprints)


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
