"""Clips made by the workers of a Ray cluster.

Ray places the workers, starts those that died again, and gives them their piece once more; files are written only by
the process that asked.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache
from pathlib import Path

import ray
from ray.actor import ActorHandle
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayTaskError

from .pieces import Piece, Result, Worker, make_in_pieces, pieces_of
from .running import Made, Work
from .world import World

ROOT = Path(__file__).parents[2]
# As in a .gitignore, but that Ray asks about the folder itself first, as ".", and sends nothing where that is left out.
NOT_CODE = ["/*", "!/.", "!/benchmarks", "!/demo", "!/vcd_core"]
# Ray counts it as a try, too, where it cannot reach a worker that is dead and does not know yet: about one a second.
RETRIES = 1  # of a piece, by Ray, before another worker may try
PATIENCE = 100  # until a worker is there again
HELD = 8  # files of what was learned that lie ready for the workers


def make_on(address: str | None, open_world: Callable[[], World]) -> Callable[[Work], Iterator[Made]]:
    """What makes a run's clips on a cluster.

    Args:
        address: as Ray takes it; None for a cluster that runs on this machine, or else for this machine alone.
        open_world: called by every worker, where it runs.
    """

    def make(work: Work) -> Iterator[Made]:
        if pieces := pieces_of(work):
            with connected(address):
                yield from make_in_pieces(work, pieces, RayPool(_workers(open_world, work)))

    return make


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """A connection to a cluster, to which our code is uploaded; if there is one already, that as it is.

    Raises:
        ValueError: no cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as it will be; without it there is a warning
    code = {"working_dir": str(ROOT), "excludes": NOT_CODE}
    with redirect_stdout(sys.stderr):  # where Ray tells of workers that died
        try:
            connection = ray.init(address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        except (RuntimeError, ConnectionError) as error:
            asked = "on this machine" if address is None else f"at {address}"
            why = " ".join(str(error).split())
            raise ValueError(f"no Ray cluster answers {asked} ({why}): see `ray status` there") from error
        with connection:
            yield


def _workers(open_world: Callable[[], World], work: Work) -> list[ActorHandle]:
    """One for each GPU, with its share of the CPUs; one for each CPU where there are no GPUs.

    Raises:
        ValueError: there are neither.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    with_gpus = [node for node in nodes if node.get("GPU", 0) >= 1]
    count = int(sum(node["GPU"] for node in with_gpus) or sum(node.get("CPU", 0) for node in nodes))
    if not count:
        raise ValueError("the Ray cluster has neither GPUs nor CPUs for workers: add a machine to it")
    gpus, cpus = bool(with_gpus), min((int(node.get("CPU", 0) // node["GPU"]) for node in with_gpus), default=1)
    work.say(f"{count} workers, each with {gpus:d} GPU and {cpus} CPU")
    actor = ray.remote(RayWorker).options(num_gpus=int(gpus), num_cpus=cpus, max_restarts=-1, max_task_retries=RETRIES)
    return [actor.remote(open_world, work.plan, Path.cwd(), max(1, cpus)) for _ in range(count)]


class RayWorker(Worker):
    """A `Worker` whose files come from Ray's object store."""

    def __init__(self, *arguments: object) -> None:
        name = ray.get_runtime_context().get_actor_id()  # the same when Ray starts it again
        super().__init__(*arguments, Path(tempfile.gettempdir()) / f"vcd-{name}")

    @ray.method(max_task_retries=PATIENCE)
    def ready(self) -> None:
        """Comes back once the world is open."""
        _ = self.world

    def do(self, piece: Piece, files: Mapping[str, ray.ObjectRef]) -> Result:
        return super().do(piece, dict(zip(files, ray.get(list(files.values())), strict=True)))


class RayPool:
    """A `Pool` of Ray's actors. Ray ends an actor to which nothing refers, so all references are in here."""

    def __init__(self, workers: Sequence[ActorHandle]) -> None:
        self.idle: list[ActorHandle] = []
        self._starting = {worker.ready.remote(): worker for worker in workers}
        self._running: dict[ray.ObjectRef, tuple[ActorHandle, Piece]] = {}
        self._stored = lru_cache(maxsize=HELD)(lambda file: ray.put(file.read_bytes()))

    @property
    def running(self) -> list[Piece]:
        return [piece for _, piece in self._running.values()]

    def start(self, piece: Piece, files: Sequence[Path]) -> None:
        worker = self.idle.pop()
        self._running[worker.do.remote(piece, {file.name: self._stored(file) for file in files})] = worker, piece

    def wait(self) -> tuple[Piece, Result | None] | None:
        """As `Pool` says.

        Raises:
            ValueError: a worker's machine lacks what the plan names.
        """
        (ref,), _ = ray.wait([*self._starting, *self._running])
        worker, piece = (self._starting.pop(ref), None) if ref in self._starting else self._running.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            if isinstance(error.cause, ValueError):
                raise error.cause from None
            raise
        except (ActorUnavailableError, OutOfMemoryError):
            if piece is None:
                raise
            self._starting[worker.ready.remote()] = worker
            return piece, None
        self.idle.append(worker)
        return piece and (piece, result)

    def release(self) -> None:
        """What the idle ones held is free, for one of the others whose machine is gone."""
        self.idle.clear()
