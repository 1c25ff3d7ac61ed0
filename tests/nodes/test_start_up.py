"""What the pack brings into ComfyUI's process when it is imported, by names and not by time."""

import json
import subprocess
import sys

from comfyui_hosts import ROOT

IMPORT_AS_COMFYUI_DOES = """
import asyncio, importlib.util, json, sys
comfyui, base, root = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = ["main.py", "--cpu", "--base-directory", base]
import comfy.options
comfy.options.enable_args_parsing()
import utils.extra_config, server, execution, nodes, comfy_api.latest  # in this order: `nodes` hides `utils`

def load():
    spec = importlib.util.spec_from_file_location("vcd_pack", root + "/__init__.py", submodule_search_locations=[root])
    sys.modules["vcd_pack"] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    yield set(sys.modules)
    asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    yield set(sys.modules)

before = set(sys.modules)
print(json.dumps([sorted(after - before) for after in load()]))
"""


def test_the_pack_brings_nothing_heavy(host, tmp_path):
    command = [sys.executable, "-c", IMPORT_AS_COMFYUI_DOES, str(host.path), str(tmp_path), str(ROOT)]
    run = subprocess.run(command, env=host.environment(), cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    imported, listed = map(set, json.loads(run.stdout.splitlines()[-1]))
    assert imported == {"vcd_pack"}
    assert "vcd_pack.nodes.motion" in listed
    assert "vcd_pack.demo" not in listed
    others = {name.partition(".")[0] for name in listed} - sys.stdlib_module_names - {"vcd_pack"}
    assert others == set()  # beside what ComfyUI itself has imported by then
