"""Sets up the development environment in .venv: `python scripts/environment.py`.

Every step leaves a stamp that holds a digest of what it installed from, written when the step is through.
So a second run does nothing, a changed requirements file repeats its step, and a run that was interrupted
goes on with the step it was at.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from comfyui_hosts import ROOT, Host, find_hosts, search_places

VENV = ROOT / ".venv"
PYTHON = VENV / "bin/python"
CONSTRAINTS = ROOT / "constraints.txt"
REQUIREMENTS = (ROOT / "requirements.txt", ROOT / "requirements-dev.txt")
TORCH = {"torch", "torchvision", "torchaudio"}


def say(message: str) -> None:
    sys.stdout.write(f"[set-up] {message}\n")
    sys.stdout.flush()


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_done(stamp: Path, content: str) -> bool:
    return stamp.is_file() and stamp.read_text() == content


def write_stamp(stamp: Path, content: str) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    temporary = stamp.with_suffix(f".{os.getpid()}")
    temporary.write_text(content)
    temporary.replace(stamp)


def pip(*arguments: str | Path) -> None:
    command = [PYTHON, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *arguments]
    if subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit(f"[set-up] failed: {' '.join(map(str, command))}")


def project_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].replace("_", "-").lower()


def venv_works() -> bool:
    try:
        return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def create_venv() -> None:
    """Makes .venv, anew if it is half a one or its interpreter is gone."""
    if venv_works():
        return
    say(f"creating {VENV.name} with Python {sys.version.split()[0]}")
    result = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False)
    if result.returncode:
        raise SystemExit("[set-up] this Python cannot make virtual environments (Debian: apt install python3-venv).")


def install_own_requirements() -> None:
    content = digest(*(path.read_text() for path in (*REQUIREMENTS, CONSTRAINTS)))
    stamp = VENV / "stamps" / "requirements"
    if is_done(stamp, content):
        return
    say("installing " + " and ".join(path.name for path in REQUIREMENTS) + " (several minutes, some 6 GB)")
    pip("-c", CONSTRAINTS, *(argument for path in REQUIREMENTS for argument in ("-r", path)))
    write_stamp(stamp, content)


def install_host_requirements(host: Host) -> None:
    """What the host needs, except torch, which is here, and what goes to its own folder."""
    wanted = host.requirements()
    shared = [line for line in wanted if project_name(line) not in TORCH and not is_own_package(line)]
    content = digest(*shared, CONSTRAINTS.read_text())
    stamp = VENV / "stamps" / f"host-{host.version}"
    if is_done(stamp, content):
        return
    say(f"installing what ComfyUI {host.version} needs")
    pip("-c", CONSTRAINTS, *shared)
    if any(project_name(line) == "torchaudio" for line in wanted):
        # The release that pairs with this torch may not exist; the one in the constraints imports beside it.
        pip("--no-deps", "-c", CONSTRAINTS, "torchaudio")
    write_stamp(stamp, content)


def is_own_package(requirement: str) -> bool:
    return project_name(requirement).startswith("comfyui-")


def install_host_site(host: Host) -> None:
    """Fills `host.site`: a new folder, renamed into place when it is complete."""
    pins = [line for line in host.requirements() if is_own_package(line)]
    content = digest(*pins)
    if is_done(host.site / "stamp", content):
        return
    say(f"installing the frontend of ComfyUI {host.version} into {host.site}")
    host.site.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{host.site.name}.", dir=host.site.parent))
    try:
        # --no-deps: of the templates' dependencies only -core is imported, the others are 450 MB of pictures.
        pip("--no-deps", "--target", fresh, *pins)
        index = template_index(fresh)
        if index:
            pip("--no-deps", "--upgrade", "--target", fresh, index)
        write_stamp(fresh / "stamp", content)
        retired = fresh.with_name(f"{fresh.name}.old")
        if host.site.exists():
            host.site.rename(retired)
        fresh.rename(host.site)
        shutil.rmtree(retired, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def template_index(site: Path) -> str | None:
    """The requirement of the templates package on its index; older releases are in one piece."""
    metadata = next(site.glob("comfyui_workflow_templates-*.dist-info/METADATA"))
    found = re.search(r"^Requires-Dist: (comfyui-workflow-templates-core\S*)", metadata.read_text(), re.M)
    return found[1] if found else None


def main() -> None:
    if sys.version_info < (3, 10):  # noqa: UP036 - this is where an older one would start
        version = sys.version.split()[0]
        raise SystemExit(f"[set-up] Python 3.10 or newer is needed, this is {version}: make PYTHON=…")
    hosts = find_hosts()
    create_venv()
    install_own_requirements()
    for host in hosts:  # newest last: where two hosts pin one package, the newest has its way
        install_host_requirements(host)
        install_host_site(host)
    if not hosts:
        say(f"no ComfyUI found in {search_places()}: set up without it")


if __name__ == "__main__":
    main()
