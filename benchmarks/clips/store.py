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

    @property
    def of(self) -> tuple[str, str]:
        """Method and ablation of the row that it was made for; others may have it too."""
        return self.method, self.ablation


class Store:
    """A CSV file that grows by a line a clip.

    A line counts once it ends. What a killed program left of its last one is cut off when the file is opened again, so
    a clip is either in it or to be made. Opened within `alone`, that nobody is at that line just now.

    Args:
        scores: names of the columns behind `KEYS`; "seconds" comes last.

    Raises:
        ValueError: the file is of other columns.
    """

    def __init__(self, path: Path, scores: Sequence[str]) -> None:
        self.path, self.names = path, tuple(scores)
        self.columns = (*KEYS, *self.names, "seconds")
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
        """In the order in which they were made; raises ValueError with the line that is none."""
        for number, line in enumerate(self.path.read_bytes().split(NEWLINE), 1):
            if number == 1 or not line:
                continue
            try:
                (values,) = csv.reader([line.decode()], strict=True)
                row = dict(zip(self.columns, values, strict=True))
                scores = {name: float(row[name]) for name in self.names if row[name]}
                keys = {name: row[name] for name in KEYS} | {"seed": int(row["seed"])}
                clip = Scored(**keys, scores=scores, seconds=float(row["seconds"]))
            except (ValueError, csv.Error) as error:
                raise ValueError(
                    f"{self.path}, line {number} is damaged: delete that line, and its clip is made again"
                ) from error
            yield clip

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
def alone(path: Path) -> Iterator[None]:
    """Within it no other program writes to a store's file; raises ValueError where one does already."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ValueError(f"another run writes to {path}: wait for it, or give another out") from error
    try:
        yield
    finally:
        lock.release()


def lines_of(path: Path, fingerprints: Collection[str]) -> bytes:
    """Of a store's file what is of these clips, below its header."""
    header, *lines = path.read_bytes().split(NEWLINE)
    wanted = {one.encode() for one in fingerprints}
    return NEWLINE.join([header, *(line for line in lines if line.split(b",", 1)[0] in wanted), b""])


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()
