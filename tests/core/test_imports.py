"""What vcd_core brings along, and who may know whom."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vcd_core.standalone.cli import STANDALONE_MODULES

ROOT = Path(__file__).parents[2]

# Imports point from later rows to earlier ones; packages of one row do not know each other.
ROWS = [
    {"vcd_core.kernels"},
    {"vcd_core.noise", "vcd_core.motion", "vcd_core.sampling", "vcd_core.vision"},
    {"vcd_core.identity", "vcd_core.faces", "vcd_core.tiles", "vcd_core.video", "vcd_core.metrics"},
    {"vcd_core.standalone"},
    {"vcd_core.__main__", "nodes", "demo", "benchmarks"},
]
ROW_OF = {package: row for row, packages in enumerate(ROWS) for package in packages}

HEAVY = {
    *("comfy", "comfy_api", "folder_paths", "diffusers", "transformers", "peft", "accelerate"),
    *("insightface", "segment_anything", "cv2", "matplotlib", "av", "triton"),
}

IMPORT_ALL = """
import json, pkgutil, sys
import vcd_core
names = [m.name for m in pkgutil.walk_packages(vcd_core.__path__, "vcd_core.")]
for name in names:
    if not name.endswith(("__main__", "_triton")):  # Triton's own code is imported where it is to be compiled
        __import__(name)
print(json.dumps({"imported": names, "loaded": sorted({name.split(".")[0] for name in sys.modules})}))
"""


def package_of(module: tuple[str, ...]) -> str:
    """The row's entry that a module belongs to: two names within vcd_core, one outside."""
    return ".".join(module[: 2 if module[0] == "vcd_core" else 1])


def modules() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Every Python file of the packages and the module's dotted name in parts."""
    for top in ("vcd_core", "nodes", "demo", "benchmarks"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield path, path.relative_to(ROOT).with_suffix("").parts


def imports_of(source: str, module: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The project's own modules that a source imports anywhere in it, as absolute names in parts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = (*module[: len(module) - node.level], *(node.module or "").split(".")) if node.level else ()
            stem = tuple(filter(None, start)) if node.level else tuple(node.module.split("."))
            names = [(*stem, alias.name) for alias in node.names]
        else:
            continue
        yield from (name for name in names if name[0] in ("vcd_core", "nodes", "demo", "benchmarks"))


def complaints(source: str, module: tuple[str, ...]) -> list[str]:
    """What this module imports although the rows forbid it.

    A plain module of vcd_core, such as vcd_core/optional.py, lies below all rows: everyone may import it, and
    it imports none of them.
    """
    here = package_of(module)
    found = []
    for name in imports_of(source, module):
        there = package_of(name)
        if there == here or there not in ROW_OF:
            continue
        if ROW_OF[there] >= ROW_OF.get(here, -1):
            found.append(f"{'.'.join(module)} imports {'.'.join(name)}")
    return found


def test_importing_every_core_module_brings_nothing_heavy():
    run = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["imported"]
    assert HEAVY & set(report["loaded"]) == set()


def third_party(source: str) -> set[str]:
    """The packages from elsewhere that a source imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"vcd_core"}


def test_everything_that_is_imported_comes_with_an_extra_or_is_asked_for_by_name():
    """`STANDALONE_MODULES` are what '.[standalone]' brings; the others are named where they are missing."""
    core, asked_for = {"torch", "numpy", "einops", "safetensors"}, {"insightface", "segment_anything", "triton"}
    files = sorted((ROOT / "vcd_core").rglob("*.py"))
    found = set().union(*(third_party(path.read_text(encoding="utf-8")) for path in files))
    assert found <= core | asked_for | STANDALONE_MODULES


def test_imports_point_one_way():
    wrong = [line for path, module in modules() for line in complaints(path.read_text(encoding="utf-8"), module)]
    assert wrong == []


def test_every_package_of_the_core_has_a_row():
    packages = {f"vcd_core.{path.parent.name}" for path in (ROOT / "vcd_core").glob("*/*.py")}
    assert packages <= set(ROW_OF)


@pytest.mark.parametrize(
    ("source", "module", "is_fine"),
    [
        ("from ..noise import ar1_noise", "vcd_core.tiles.blend", True),
        ("from ..noise.ar1 import ar1_noise", "vcd_core.sampling.sde", False),
        ("from .. import noise", "vcd_core.sampling.sde", False),
        ("from ..tiles import plan", "vcd_core.noise.ar1", False),
        ("from ..faces import plan", "vcd_core.tiles.plan", False),
        ("from .curve import x\nfrom . import y", "vcd_core.tiles.plan", True),
        ("def f():\n    import vcd_core.standalone", "vcd_core.tiles.plan", False),
        ("from .standalone import cli", "vcd_core.__main__", True),
        ("from ..optional import need", "vcd_core.vision.faces", True),
        ("from .noise import ar1_noise", "vcd_core.optional", False),
        ("from ..vcd_core.noise import ar1_noise", "nodes.noise", True),
        ("from ...vcd_core.noise import ar1_noise", "nodes.host.motion", True),
        ("from demo import render", "nodes.demo", False),
        ("import torch", "vcd_core.noise.prior", True),
    ],
)
def test_the_check_itself_tells_right_from_wrong(source, module, is_fine):
    assert (complaints(source, tuple(module.split("."))) == []) is is_fine
