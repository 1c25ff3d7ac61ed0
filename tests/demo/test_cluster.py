"""The identity benchmark on a real Ray cluster, on this machine: the same clips as without one, whoever dies meanwhile.

Ray takes some seconds to start, and so does each worker.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from anywhere import COUNT, PLAN, PRETENDED, Anywhere, Watched, open_watched

from benchmarks import identity
from benchmarks.baselines import METHODS
from benchmarks.clips import pieces, plan, running

ray = pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")

from benchmarks.clips import cluster  # noqa: E402 - it imports ray

ROOT = Path(__file__).parents[2]
SUPPORT = ROOT / "tests/support"
WORKERS = 2

DRIVER = """
import sys
from functools import partial
from pathlib import Path
import ray
from anywhere import PRETENDED, Watched, open_watched
from benchmarks.baselines import METHODS
from benchmarks.clips import cluster, plan, running
METHODS.update(PRETENDED)
file, folder = map(Path, sys.argv[1:3])
ray.init(sys.argv[3], log_to_driver=False)
world = Watched(folder)
planned = plan.plan_of(plan.read_source(file), world)
running.run(planned, world, make=cluster.make_on(None, partial(open_watched, folder)))
"""


SENT = """
import sys
sys.path.insert(0, sys.argv[1])  # and not by the environment, from which workers would have it as well
import ray
from benchmarks.clips import cluster

def there():
    import importlib
    import os
    modules = [importlib.import_module(name) for name in ("benchmarks.clips.pieces", "demo.weights", "vcd_core.files")]
    return {"here": os.getcwd(), "listed": sorted(os.listdir()), "modules": [one.__file__ for one in modules]}

with cluster.connected("local"):
    import json
    found = ray.get(ray.remote(num_cpus=0)(there).remote())
sys.stdout.write(json.dumps(found))
"""


@pytest.fixture(scope="module")
def address():
    """Of a cluster that this process is connected to."""
    environment = {
        "PYTHONPATH": f"{ROOT}:{SUPPORT}",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_register_timeout_seconds": "600",  # a driver whose first workers come too late waits for ever
    }
    options = {"num_cpus": WORKERS, "num_gpus": 0, "object_store_memory": 100 * 2**20}
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, value in {**environment, "TMPDIR": folder}.items():
            patch.setenv(name, value)
        with ray.init("local", include_dashboard=False, log_to_driver=False, **options) as context:
            yield context.address_info["address"]


@pytest.fixture
def pretended(monkeypatch):
    for name, method in PRETENDED.items():
        monkeypatch.setitem(METHODS, name, method)


@pytest.fixture
def planned(tmp_path, pretended):
    def make(out):
        file = tmp_path / f"{out}.yaml"
        file.write_text(f"out: {tmp_path / out}\n{PLAN}", encoding="utf-8")
        return plan.plan_of(plan.read_source(file), Anywhere())

    return make


def left_by(folder):
    """All files, and the lines of the CSV in the order of the alphabet, without how long each took."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = files.pop(running.CLIPS).decode().splitlines()
    return sorted(line.rsplit(",", 1)[0] for line in lines), files


def begun_in(folder):
    """PID, subject, seed and prompt of every clip that a worker began."""
    return [line.split(" ", 3) for line in (folder / "begun").read_text().splitlines()]


def wait_until(condition, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.05)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_worker_that_is_killed_costs_its_piece_and_no_clip(address, planned, tmp_path):
    """One dies once, and its piece is done again; others die of one clip each time, which is reported."""
    running.run(planned("unbroken"), Anywhere())
    (tmp_path / "kill ann 1 a portrait of {}, there").write_text("x")
    (tmp_path / "kill bob 0 a portrait of {}, there").write_text("x" * 9)
    make = cluster.make_on(None, partial(open_watched, tmp_path))

    outcome = running.run(planned("out"), Watched(tmp_path), make=make)
    clips = [f"vcd, bob_{clip}" for clip in ("01_0", "01_1", "02_0", "02_1")]
    assert sorted(outcome.failed) == [(clip, "whoever was to make it died") for clip in clips]
    lines, _ = left_by(tmp_path / "out")
    assert len(lines) == len(set(lines)) == 1 + COUNT - 4
    begun = Counter(subject for _, subject, *_ in begun_in(tmp_path))
    assert begun["ann"] >= 6 + 4
    assert begun["bob"] >= 2 + pieces.TRIES * 3  # up to the third clip of a piece

    rest = Anywhere()
    running.run(planned("out"), rest)  # without ray
    assert rest.made == 4
    assert left_by(tmp_path / "out") == left_by(tmp_path / "unbroken")


@pytest.mark.parametrize("error", [ConnectionError, RuntimeError])
def test_a_cluster_that_does_not_answer_is_named(error, monkeypatch):
    def init(*_, **__):
        raise error("timed\nout")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    refused = pytest.raises(ValueError, match=r"no Ray cluster answers at 10\.0\.0\.1:6379 \(timed out\)")
    with refused, cluster.connected("10.0.0.1:6379"):
        pass


def test_workers_have_the_project_s_code_though_no_path_of_theirs_leads_to_it(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", SENT, str(ROOT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["listed"] == ["benchmarks", "demo", "vcd_core"]
    assert all(Path(file).is_relative_to(found["here"]) for file in found["modules"])


@pytest.mark.parametrize("with_ray", [False, True])
def test_a_run_that_is_killed_leaves_nothing_half_done_and_nobody_at_work(address, planned, tmp_path, with_ray):
    running.run(planned("unbroken"), Anywhere())
    one, hold = planned("out"), tmp_path / "hold bob 1 a photo of {} here"
    hold.touch()
    arguments = [sys.executable, "-c", DRIVER, str(tmp_path / "out.yaml"), str(tmp_path), address]
    driver = subprocess.Popen(arguments, cwd=ROOT)
    file = one.out / running.CLIPS
    try:
        wait_until(lambda: file.exists() and file.read_bytes().count(b"\n") > 4)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    workers = {int(pid) for pid, *_ in begun_in(tmp_path)}
    wait_until(lambda: not any(map(is_alive, workers)))
    hold.unlink()
    done = file.read_bytes().count(b"\n") - 1
    before = len(begun_in(tmp_path))

    world = Watched(tmp_path)
    if with_ray:
        running.run(one, world, make=cluster.make_on(None, partial(open_watched, tmp_path)))
    else:
        running.run(one, world)
    assert len(begun_in(tmp_path)) - before == COUNT - done
    assert left_by(one.out) == left_by(tmp_path / "unbroken")


def test_the_command_leaves_the_same_with_a_cluster_as_without(address, tmp_path, monkeypatch, capsys):
    """On the demo's model, by the project's files as they are sent to the cluster."""
    settings = "clip: {frames: 2, steps: 1}\nsteps: 1\nclass_pictures: 1\nkeep: true\nsubjects: 2\nprompts: 1\nseeds: 2"
    rows = "  - {method: vcd}\n  - {method: custom diffusion, seeds: 1}\n"
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "plan.yaml").write_text(f"world: demo\nout: out\n{settings}\nrows:\n{rows}")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.identity", "plan.yaml", "--ray", address, "--json"],
        cwd=tmp_path / "with",
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stderr
    assert f"{WORKERS} workers, each with 0 GPU and 1 CPU" in done.stderr

    monkeypatch.chdir(tmp_path / "without")
    monkeypatch.setattr(sys, "argv", ["identity", "plan.yaml", "--json"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a worker: with others sums may be rounded otherwise
    try:
        assert identity.main() == 0
    finally:
        torch.set_num_threads(threads)
    assert json.loads(done.stdout)["cases"] == json.loads(capsys.readouterr().out)["cases"]
    lines, files = left_by(tmp_path / "with/out")
    assert (lines, files) == left_by(tmp_path / "without/out")
    assert len(lines) == 1 + 4 + 2
    assert sum(name.endswith(".mp4") for name in files) == 4 + 2
