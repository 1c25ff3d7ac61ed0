"""A run in pieces, for processes that have no folder in common: what each needs and what it makes are bytes."""

import os
import shutil
import socket
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch

from vcd_core.files import unfinished_file

from .learned import Learned, has_prior_preservation
from .plan import Plan, Row
from .running import LEARNED, Made, Wanted, Work, clip_fingerprint, make_clips, told
from .world import World

AT_ONCE = 4  # clips of a piece: what is to be made again when a process dies
TRIES = 2  # of a piece whose process died
DRAW, LEARN, MAKE = "class drawn", "learned", "made"


@dataclass(frozen=True, eq=False)
class Piece:
    """What a process does at one go.

    Attributes:
        job: `DRAW` pictures of the subject's class, `LEARN` the subject, or `MAKE` clips.
        needs: names of the files of what was drawn or learned before, which it starts from.
        gives: the name of the file that it draws or learns; "" for clips.
        todo: the clips, by fingerprint; where rows have the same clip, each one's.
    """

    job: str
    row: Row
    subject: str
    needs: tuple[str, ...] = ()
    gives: str = ""
    todo: Mapping[str, list[Wanted]] = field(default_factory=dict)

    def failed(self, why: str) -> "Result":
        return Result([(ones[0], None, why) for ones in self.todo.values()], {}, why)


@dataclass(frozen=True)
class Result:
    """What came of a piece.

    Attributes:
        made: its clips, in their order.
        files: what it wrote, by places in the plan's folder.
        why: the file that it gives could not be made; "" if it was.
    """

    made: Sequence[Made]
    files: Mapping[str, bytes]
    why: str = ""


class Pool(Protocol):
    """Processes that do pieces, each with a `Worker`.

    Attributes:
        idle: those that wait for a piece.
        running: pieces that were started, and did not come back from `wait`.
    """

    idle: Sequence[object]
    running: Collection[Piece]

    def start(self, piece: Piece, files: Sequence[Path]) -> None:
        """Gives an idle one a piece, and the files that it needs."""

    def wait(self) -> tuple[Piece, Result | None] | None:
        """The next piece that is done, or whose process died; None if instead there is another idle one."""

    def release(self) -> None:
        """No other piece will be started, but for those whose process dies."""


def pieces_of(work: Work) -> list[Piece]:
    """All that is missing: each lesson once, whatever rows share it, and before the clips that need it."""
    pieces, given = [], set()
    clips: dict[str, list[Wanted]] = {}

    def given_by(job: str, file: Path, row: Row, subject: str, needs: tuple[str, ...] = ()) -> tuple[str]:
        if file.name not in given and not file.exists():
            pieces.append(Piece(job, row, subject, needs, file.name))
        given.add(file.name)
        return (file.name,)

    for some in work.groups:
        todo = []
        for key, one in work.missing(some).items():
            if key not in clips:
                todo.append(key)
            clips.setdefault(key, []).append(one)
        row, subject, needs = some[0].row, some[0].subject, ()
        if todo and row.videos is None:
            file = work.learned.file(row, subject)
            if has_prior_preservation(row) and not file.exists():
                needs = given_by(DRAW, work.learned.class_file(subject), row, subject)
            needs = given_by(LEARN, file, row, subject, needs)
        for start in range(0, len(todo), AT_ONCE):
            chosen = {key: clips[key] for key in todo[start : start + AT_ONCE]}
            pieces.append(Piece(MAKE, row, subject, needs, todo=chosen))
    return pieces


def make_in_pieces(work: Work, pieces: Sequence[Piece], pool: Pool) -> Iterator[Made]:
    """Starts the pieces in their order, each as soon as what it needs is there; writes and gives what comes back."""
    folder, waiting, died = work.learned.folder, list(pieces), Counter()

    def is_ready(piece: Piece) -> bool:
        return all((folder / name).exists() for name in piece.needs)

    while waiting or pool.running:
        while pool.idle and (piece := next(filter(is_ready, waiting), None)):
            waiting.remove(piece)
            pool.start(piece, [folder / name for name in piece.needs])
        if not waiting:
            pool.release()
        if (done := pool.wait()) is None:
            continue
        piece, result = done
        if result is None:
            died[piece] += 1
            if died[piece] < TRIES:
                waiting.insert(0, piece)
                continue
            result = piece.failed("whoever was to make it died")
        for place, content in result.files.items():
            with unfinished_file(work.plan.out / place) as unfinished:
                unfinished.write_bytes(content)
        for ones, (_, scored, why) in zip(piece.todo.values(), result.made, strict=True):
            yield from ((one, scored, why) for one in (ones[:1] if scored else ones))
        if result.why and piece.gives:
            yield from _lost(waiting, piece.gives, result.why)
        left = sum(len(one.todo) for one in (*waiting, *pool.running))
        work.say(f"{piece.row.name}: {piece.subject}, {piece.job}; {left} clips to go")


def _lost(waiting: list[Piece], name: str, why: str) -> Iterator[Made]:
    """Takes out the pieces that wait for a file which does not come, and those that wait for theirs."""
    for piece in [one for one in waiting if name in one.needs]:
        waiting.remove(piece)
        yield from ((one, None, why) for ones in piece.todo.values() for one in ones)
        if piece.gives:
            yield from _lost(waiting, piece.gives, why)


class Worker:
    """Does pieces in a process of its own, with a world that it opens itself.

    Args:
        folder: where the run was started, to which relative paths of its plan belong.
        threads: of torch.
        scratch: a folder of its own, in which an earlier process may have been killed.
    """

    def __init__(self, open_world: Callable[[], World], plan: Plan, folder: Path, threads: int, scratch: Path) -> None:
        torch.set_num_threads(threads)
        with suppress(OSError):  # elsewhere the paths have to be absolute ones
            os.chdir(folder)
        self.open_world = open_world
        self.plan = replace(plan, out=scratch)
        shutil.rmtree(scratch, ignore_errors=True)

    @cached_property
    def world(self) -> World:
        try:
            return self.open_world()
        except (ValueError, OSError) as error:
            raise ValueError(f"on {socket.gethostname()}: {told(error)}") from error

    @cached_property
    def learned(self) -> Learned:
        return Learned(self.world, self.plan.out / LEARNED, self.plan.class_pictures)

    def do(self, piece: Piece, files: Mapping[str, bytes]) -> Result:
        """Does one piece with the files that it needs; nothing of it stays on disk.

        Raises:
            ValueError: this machine has other models, photos or videos than the one that wants the piece, or none.
        """
        out = self.plan.out
        out.mkdir(mode=0o700)
        try:
            for name, content in files.items():
                with unfinished_file(out / LEARNED / name) as unfinished:
                    unfinished.write_bytes(content)
            self._check(piece)
            made, why = [], ""
            if piece.job == MAKE:
                todo = {key: ones[0] for key, ones in piece.todo.items()}
                made = list(make_clips(todo, self.plan, self.world, self.learned))
            else:
                try:
                    self._learn(piece)
                except (ValueError, torch.OutOfMemoryError) as error:
                    why = told(error)
            there = [path for path in out.rglob("*") if path.is_file() and path.name not in files]
            return Result(made, {str(path.relative_to(out)): path.read_bytes() for path in there}, why)
        finally:
            shutil.rmtree(out)

    def _learn(self, piece: Piece) -> None:
        if piece.job == DRAW:
            self.learned.of_the_class(piece.subject)
        else:
            self.learned.tensors(piece.row, piece.subject)

    def _check(self, piece: Piece) -> None:
        """A piece's names follow from all that goes into it, so they must be the same here."""
        host = socket.gethostname()
        try:
            if piece.job == MAKE:
                names = [clip_fingerprint(ones[0], self.world, self.learned) for ones in piece.todo.values()]
            elif piece.job == LEARN:
                names = [self.learned.file(piece.row, piece.subject).name]
            else:
                names = [self.learned.class_file(piece.subject).name]
        except (ValueError, OSError) as error:
            raise ValueError(f"on {host}: {told(error)}") from error
        if names != (list(piece.todo) if piece.job == MAKE else [piece.gives]):
            raise ValueError(
                f"{host} has other files than this machine where the plan looks for models, photos and videos, as for "
                f"{piece.row.name} of {piece.subject}: copy them there"
            )
