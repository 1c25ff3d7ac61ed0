"""Links the pack into a ComfyUI and starts it: `python scripts/comfyui.py [arguments for ComfyUI]`."""

import os
import subprocess
import sys

from comfyui_hosts import ROOT, Host, cached_hosts, link_pack, named_hosts, search_places, vcd_home

TESTED_VERSION = "0.33.0"


def install_host() -> Host:
    """Has comfy-cli, ComfyUI's own installer, put the newest version that the tests know in VCD_HOME."""
    workspace = vcd_home() / f"ComfyUI-{TESTED_VERSION}"
    sys.stdout.write(f"No ComfyUI in {search_places()}: asking comfy-cli for {TESTED_VERSION}.\n")
    sys.stdout.flush()
    tool = vcd_home() / "comfy-cli"  # apart from .venv, whose packages it would change
    steps = [
        [sys.executable, "-m", "venv", tool],
        [tool / "bin/python", "-m", "pip", "install", "--quiet", "comfy-cli"],
        [tool / "bin/comfy", "--skip-prompt", f"--workspace={workspace}", "install", "--skip-manager"]
        + ["--version", TESTED_VERSION, "--cpu", "--skip-torch-or-directml", "--skip-requirement"],
    ]
    for step in steps:
        if subprocess.run(list(map(str, step)), stdin=subprocess.DEVNULL, check=False).returncode:
            break
    hosts = [host for host in cached_hosts() if host.path == workspace]
    if not hosts:
        raise SystemExit(
            "comfy-cli could not install ComfyUI here (its repository has to be reachable). "
            f"Put a checkout into {vcd_home()}/ComfyUI-<version>, "
            "or name one: make comfyui COMFYUI_PATH=/path/to/ComfyUI"
        )
    subprocess.run([sys.executable, str(ROOT / "scripts/environment.py")], check=True)
    return hosts[0]


def device_arguments() -> list[str]:
    import torch

    has_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return [] if has_accelerator else ["--cpu"]


def main() -> None:
    hosts = named_hosts() or cached_hosts()
    host = hosts[0] if hosts else install_host()
    link_pack(host.path / "custom_nodes")
    arguments = sys.argv[1:]
    if "--cpu" not in arguments:
        arguments += device_arguments()
    sys.stdout.write(f"Starting ComfyUI {host.version} in {host.path}\n")
    sys.stdout.flush()
    os.chdir(host.path)
    os.execve(sys.executable, host.command(*arguments), host.environment())


if __name__ == "__main__":
    main()
