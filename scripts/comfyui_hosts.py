"""Where ComfyUI is on this machine, and what it takes to start it.

Standard library only: the set-up imports this before anything is installed, the tests and the benchmarks
import it afterwards.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACK = "comfyui-vcd"


def vcd_home() -> Path:
    """The folder for everything large that outlives a checkout: hosts, test models, fetched photos."""
    return Path(os.environ.get("VCD_HOME") or "~/.cache/comfyui-vcd").expanduser().absolute()


@dataclass(frozen=True)
class Host:
    """One ComfyUI checkout, by the version that it gives itself."""

    path: Path
    version: str

    @property
    def key(self) -> tuple[int, ...]:
        return tuple(int(part) for part in re.findall(r"\d+", self.version))

    @property
    def site(self) -> Path:
        """The packages of which each host wants its own version: frontend, templates, node help.

        One environment holds one version of each, so that the other host would start with a foreign
        frontend, or not at all. First on PYTHONPATH, this folder is also what importlib.metadata reads.
        """
        return vcd_home() / f"site-{self.version}"

    def requirements(self) -> list[str]:
        """The lines of its requirements.txt, without comments."""
        text = (self.path / "requirements.txt").read_text(encoding="utf-8")
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        return [line for line in lines if line]

    def environment(self, *first: Path) -> dict[str, str]:
        """The environment variables to start it with; `first` comes even before its own packages."""
        path = [*map(str, first), str(self.site), os.environ.get("PYTHONPATH", "")]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}

    def command(self, *arguments: str | Path) -> list[str]:
        return [sys.executable, str(self.path / "main.py"), *map(str, arguments)]


def read_host(path: Path) -> Host | None:
    """The checkout in `path`, or None if there is none."""
    try:
        source = (path / "comfyui_version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    version = re.search(r"__version__\s*=\s*[\"']([^\"']+)", source)
    return Host(path.absolute(), version[1]) if version and (path / "main.py").is_file() else None


def named_hosts() -> list[Host]:
    """Those that COMFYUI_PATH names, in its order."""
    hosts = []
    for entry in filter(None, os.environ.get("COMFYUI_PATH", "").split(os.pathsep)):
        host = read_host(Path(entry).expanduser())
        if host is None:
            raise SystemExit(f"COMFYUI_PATH names {entry}, which holds no ComfyUI (main.py, comfyui_version.py).")
        hosts.append(host)
    return hosts


def cached_hosts() -> list[Host]:
    """Those in VCD_HOME/ComfyUI-<version>, newest first."""
    found = filter(None, map(read_host, vcd_home().glob("ComfyUI-*")))
    return sorted(found, key=lambda host: host.key, reverse=True)


def find_hosts() -> list[Host]:
    """Every checkout there is, one a version, oldest first; those of COMFYUI_PATH win."""
    by_version = {host.version: host for host in [*cached_hosts(), *named_hosts()]}
    return sorted(by_version.values(), key=lambda host: host.key)


def search_places() -> str:
    """One line that says where `find_hosts` looks."""
    named = os.environ.get("COMFYUI_PATH")
    return f"COMFYUI_PATH ({named or 'not set'}) and {vcd_home()}/ComfyUI-<version>"


def link_pack(custom_nodes: Path, packs: Sequence[Path] = (ROOT,)) -> list[str]:
    """Links node packs into a custom_nodes folder; returns their names there, ours being `PACK`.

    A folder or a link to another place that is already there is somebody's own and stays.
    """
    custom_nodes.mkdir(parents=True, exist_ok=True)
    names = []
    for pack in packs:
        name = PACK if pack == ROOT else pack.name
        link = custom_nodes / name
        if not link.exists():
            link.unlink(missing_ok=True)  # a dangling link
            link.symlink_to(pack, target_is_directory=True)
        elif link.resolve() != pack.resolve():
            raise SystemExit(f"{link} is there already and is not {pack}: move it away first.")
        names.append(name)
    return names
