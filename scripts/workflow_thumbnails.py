"""Draws the thumbnails of the shipped workflows: `python scripts/workflow_thumbnails.py [NAME ...]`.

Needs a ComfyUI (see comfyui_hosts.py), Playwright and a Chromium. The newest ComfyUI draws.
"""

import json
import sys
import tempfile
from pathlib import Path

from comfyui_hosts import ROOT, find_hosts, search_places
from PIL import Image

sys.path.append(str(ROOT / "tests/support"))

from comfyui_server import start_server  # noqa: E402
from frontend import Page, open_page, place_stand_ins, what_is_missing  # noqa: E402
from graphs import shipped  # noqa: E402
from ui_workflows import Box, Workflow, group_box  # noqa: E402

WORKFLOWS = ROOT / "workflows"
SIZE = (640, 360)
MARGIN = 20


def crop(workflow: Workflow) -> Box:
    """As many of the first groups as fill a picture of the thumbnail's shape."""
    groups = [group_box(group) for group in workflow["groups"]]
    left, top = min(x0 for x0, *_ in groups), min(y0 for _, y0, *_ in groups)
    height = max(y1 for *_, y1 in groups) - top
    shape = SIZE[0] / SIZE[1]
    width = max(x1 - left for _, _, x1, _ in groups if x1 - left <= 1.2 * shape * height) + 2 * MARGIN
    return left - MARGIN, top - MARGIN, left - MARGIN + width, top - MARGIN + width / shape


def draw(page: Page, workflow: Workflow, path: Path) -> None:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(Path(file.name), crop(workflow))
        picture = Image.open(file.name).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)
    picture.save(path, quality=85, optimize=True)


def main(names: list[str]) -> None:
    hosts = find_hosts()
    if not hosts:
        raise SystemExit(f"no ComfyUI found in {search_places()}")
    if missing := what_is_missing():
        raise SystemExit(f"this needs {missing}")
    paths = [WORKFLOWS / f"{name}.json" for name in names] or sorted(WORKFLOWS.glob("*.json"))
    workflows = {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    with tempfile.TemporaryDirectory() as base:
        for path in workflows:
            place_stand_ins(Path(base), shipped(path.stem))
        with start_server(hosts[-1], Path(base)) as server, open_page(server) as page:
            for path, workflow in workflows.items():
                page.load(workflow)
                draw(page, workflow, path.with_suffix(".jpg"))
                sys.stdout.write(f"{path.with_suffix('.jpg')}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
