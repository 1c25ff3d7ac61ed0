"""Draws the thumbnails of the shipped workflows: `python scripts/workflow_thumbnails.py [NAME ...]`.

A thumbnail is the graph, drawn by the newest ComfyUI found (see comfyui_hosts.py); this needs Playwright and a
Chromium. With --clip and --photos it is what went in above what came out, and needs neither.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from comfyui_hosts import ROOT, find_hosts, search_places
from PIL import Image, ImageOps

sys.path += [str(ROOT / "tests/support"), str(ROOT)]

from comfyui_server import start_server  # noqa: E402
from frontend import Page, open_page, place_stand_ins, what_is_missing  # noqa: E402
from graphs import shipped  # noqa: E402
from ui_workflows import Box, Workflow, group_box  # noqa: E402

from vcd_core.identity import load_photos  # noqa: E402

WORKFLOWS = ROOT / "workflows"
SIZE = (640, 360)
MARGIN = 20
PHOTOS, FRAMES, FRAMES_A_ROW = 6, 10, 5
GAP = 4


def crop(workflow: Workflow) -> Box:
    """As many of the first groups as fill a picture of the thumbnail's shape."""
    groups = [group_box(group) for group in workflow["groups"]]
    left, top = min(x0 for x0, *_ in groups), min(y0 for _, y0, *_ in groups)
    height = max(y1 for *_, y1 in groups) - top
    shape = SIZE[0] / SIZE[1]
    width = max(x1 - left for _, _, x1, _ in groups if x1 - left <= 1.2 * shape * height) + 2 * MARGIN
    return left - MARGIN, top - MARGIN, left - MARGIN + width, top - MARGIN + width / shape


def draw(page: Page, workflow: Workflow) -> Image.Image:
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(Path(file.name), crop(workflow))
        return Image.open(file.name).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)


def draw_graphs(workflows: dict[Path, Workflow]) -> None:
    hosts = find_hosts()
    if not hosts:
        raise SystemExit(f"no ComfyUI found in {search_places()}")
    if missing := what_is_missing():
        raise SystemExit(f"this needs {missing}")
    with tempfile.TemporaryDirectory() as base:
        for path in workflows:
            place_stand_ins(Path(base), shipped(path.stem))
        with start_server(hosts[-1], Path(base)) as server, open_page(server) as page:
            for path, workflow in workflows.items():
                page.load(workflow)
                save(draw(page, workflow), path)


def collage(clip: Path, photos: Path) -> Image.Image:
    """Photos in a row; below them frames from all over the clip."""
    top = [Image.fromarray((photo.image * 255).byte().numpy()) for photo in load_photos(photos)[:PHOTOS]]
    frames = clip_frames(clip)
    shown = [frames[index] for index in np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)]

    thumbnail = Image.new("RGB", SIZE, "white")
    side = (SIZE[0] - GAP) // FRAMES_A_ROW - GAP
    below = SIZE[1] - (side + GAP) * (FRAMES // FRAMES_A_ROW)
    paste_row(thumbnail, top, below - 2 * GAP, GAP)
    for start in range(0, FRAMES, FRAMES_A_ROW):
        paste_row(thumbnail, shown[start : start + FRAMES_A_ROW], side, below)
        below += side + GAP
    return thumbnail


def paste_row(thumbnail: Image.Image, pictures: list[Image.Image], side: int, y: int) -> None:
    """Square pictures side by side over the whole width."""
    places = np.linspace(GAP, SIZE[0] - GAP - side, len(pictures)).round().astype(int)
    for x, picture in zip(places.tolist(), pictures, strict=True):
        thumbnail.paste(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS), (x, y))


def clip_frames(path: Path) -> list[Image.Image]:
    import av

    with av.open(str(path)) as video:
        return [frame.to_image() for frame in video.decode(video=0)]


def save(picture: Image.Image, workflow: Path) -> None:
    path = workflow.with_suffix(".jpg")
    picture.save(path, quality=85, optimize=True)
    sys.stdout.write(f"{path}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="a workflow, by default all of them")
    parser.add_argument("--clip", type=Path, help="an mp4 that the workflow made; with --photos, for one NAME")
    parser.add_argument("--photos", type=Path, help="the folder of photos that it was made from")
    arguments = parser.parse_args()
    paths = [WORKFLOWS / f"{name}.json" for name in arguments.names] or sorted(WORKFLOWS.glob("*.json"))
    workflows = {path: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    if not arguments.clip and not arguments.photos:
        draw_graphs(workflows)
    elif arguments.clip and arguments.photos and len(arguments.names) == 1:
        save(collage(arguments.clip, arguments.photos), paths[0])
    else:
        parser.error("--clip and --photos go together, with one NAME")


if __name__ == "__main__":
    main()
