"""Takes the pictures of the canvas in the guide and in the nodes' help: `python scripts/guide_pictures.py [NAME ...]`.

The demo model works in the newest ComfyUI found (see comfyui_hosts.py), its page is shown by a Chromium: this needs
Playwright and some minutes.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from comfyui_hosts import ROOT, find_hosts, search_places
from PIL import Image

sys.path += [str(ROOT / "tests/support"), str(ROOT)]

from comfyui_server import Server, start_server  # noqa: E402
from frontend import Page, open_page, place_stand_ins, what_is_missing  # noqa: E402
from graphs import WORKFLOWS, shipped  # noqa: E402
from ui_workflows import Box, group_box, inside  # noqa: E402
from ui_workflows import node_box as saved_box  # noqa: E402

IN_README = ROOT / "docs/images"
IN_HELP = ROOT / "web/docs/images"  # which the guide shows, too
MARGIN = 16
NODE = "#353535"  # the colour of a node
MINUTE = 60_000  # milliseconds
SUBJECTS = {"demo_otto": "demo://otto (man)", "demo_bolt": "demo://bolt (robot)", "demo_kit": "demo://kit (cat)"}


def gamma(page: Page, _: Server) -> list[Image.Image]:
    """What gamma does to the noise, on the node."""
    pictures = []
    for value in (0.1, 0.5, 0.9):
        page.set(page.add("VCD_CorrelatedNoise"), "gamma", value)
        pictures.append(taken(page, node_box(page, "VCD_CorrelatedNoise")))
    return pictures


def training(page: Page, server: Server) -> list[Image.Image]:
    """A training at work, and when it is done: what is below the node's inputs."""
    run(page, "demo_t2v")
    page.show("VCD_TrainIDToken")
    page.page.wait_for_function("() => document.querySelectorAll('.vcd-pictures').length === 2", timeout=60 * MINUTE)
    pictures = [taken(page, panel_box(page, "VCD_TrainIDToken"))]
    server.newest_record(3600)
    return [*pictures, taken(page, panel_box(page, "VCD_TrainIDToken"))]


def canvas(page: Page, server: Server) -> list[Image.Image]:
    """A template that has run."""
    workflow = run(page, "demo_t2v")
    server.newest_record(3600)
    page.show("SaveVideo")
    page.page.wait_for_function("() => document.querySelector('video')?.readyState >= 2", timeout=MINUTE)
    page.page.locator("video").evaluate("video => { video.controls = false }")
    groups = [group_box(group) for group in workflow["groups"]]
    left, top, right, _ = zip(*groups, strict=True)
    nodes = [box for box in page.boxes().values() if box[0] > min(left)]
    return [taken(page, (min(left), min(top), max(right), max(bottom for *_, bottom in nodes)), 0.65)]


def faces(page: Page, server: Server) -> list[Image.Image]:
    """The faces that were followed through a clip: what is below the node's inputs."""
    run(page, "demo_face")
    server.newest_record(3600)
    page.show("VCD_FaceVCD")
    page.page.locator(".vcd-panel input[type=range]").evaluate(
        "slider => { slider.value = 8; slider.dispatchEvent(new Event('input')) }"
    )
    return [taken(page, panel_box(page, "VCD_FaceVCD"))]


def tokens(page: Page, server: Server) -> list[Image.Image]:
    """The picker of ID tokens."""
    for name, folder in SUBJECTS.items():
        noun = folder.partition("(")[2].rstrip(")")
        graph = shipped("demo_t2v").set("VCD_LoadIdentityPhotos", folder=folder)
        graph.set("VCD_TrainIDToken", name=name, noun=noun, steps=2).set("VCD_Sampler", steps=1)
        server.queue(graph, timeout=3600).check()
    page.add("CLIPTextEncode")
    page.page.set_viewport_size({"width": 1000, "height": 560})
    page.page.evaluate("() => app.canvas.selectNode(app.graph.nodes[0])")
    page.page.keyboard.press("Alt+i")
    page.page.wait_for_function(
        "() => [...document.querySelectorAll('.vcd-token')].length && "
        "[...document.querySelectorAll('.vcd-token img')].every(one => one.naturalWidth)"
    )
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.page.locator(".vcd-dialog").screenshot(path=file.name)
        picture = Image.open(file.name).convert("RGB")
    page.page.keyboard.press("Escape")
    return [picture]


def loaded_token(page: Page, server: Server) -> list[Image.Image]:
    """Load ID Token with the picture of what it has loaded."""
    workflow = read("demo_t2v")
    page.load(workflow)
    page.set("VCD_TrainIDToken", "steps", 2)
    page.set("VCD_Sampler", "steps", 1)
    page.press_run()
    server.newest_record(3600)
    page.show("VCD_LoadIDToken")
    page.page.wait_for_timeout(2000)  # in which its picture comes, and the node grows
    return [taken(page, node_box(page, "VCD_LoadIDToken"))]


def in_place(name: str, kind: str) -> Callable[[Page, Server], list[Image.Image]]:
    """A node and its neighbours in a template: the group that it is in, down to the last of them."""

    def take(page: Page, _: Server) -> list[Image.Image]:
        workflow = read(name)
        page.load(workflow)
        page.show(kind)
        (box,) = (saved_box(node) for node in workflow["nodes"] if node["type"] == kind)
        group = next(group for group in map(group_box, workflow["groups"]) if inside(box, group))
        left, top, right, _ = group
        bottom = max(drawn[3] for drawn in page.boxes().values() if inside(drawn, group))
        return [taken(page, (left, top, right, bottom), 0.9)]

    return take


PLACES = {
    "photos": ("demo_t2v", "VCD_LoadIdentityPhotos"),
    "motion": ("t2v_motion_lora", "VCD_LoadMotionModule"),
    "detector": ("t2v_face", "VCD_LoadFaceDetector"),
    "segment": ("segment_and_train", "VCD_SegmentByPrompt"),
    "windows": ("v2v_vcd", "VCD_ContextWindows"),
    "tiles": ("t2v_face_tiled", "VCD_TiledVCD"),
    "measure": ("measure_video", "VCD_EvaluateVideo"),
}
PICTURES: dict[str, Callable[[Page, Server], list[Image.Image]]] = {  # in this order: a token is learned only once
    "gamma_node": gamma,
    "training": training,
    "canvas": canvas,
    "faces": faces,
    "tokens": tokens,
    "loaded_token": loaded_token,
    **{name: in_place(*place) for name, place in PLACES.items()},
}


def read(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def run(page: Page, name: str) -> dict:
    workflow = read(name)
    page.load(workflow)
    page.press_run()
    return workflow


def node_box(page: Page, kind: str) -> Box:
    key = page.page.evaluate("kind => app.graph.nodes.find(node => node.type === kind).id", kind)
    return page.boxes()[int(key)]


def panel_box(page: Page, kind: str) -> Box:
    """Of what the pack adds to a node, which is its last part."""
    x0, _, x1, y1 = node_box(page, kind)
    top = page.page.evaluate(
        "kind => { const node = app.graph.nodes.find(node => node.type === kind);"
        " return node.pos[1] + node.widgets.find(widget => widget.type === 'vcd_panel').y }",
        kind,
    )
    return x0 + MARGIN, top + MARGIN, x1 - MARGIN, y1 - MARGIN


def taken(page: Page, box: Box, scale: float = 1.0) -> Image.Image:
    x0, y0, x1, y1 = box
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        page.screenshot(Path(file.name), (x0 - MARGIN, y0 - MARGIN, x1 + MARGIN, y1 + MARGIN), scale)
        return Image.open(file.name).convert("RGB")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (sum(one.width for one in pictures), max(one.height for one in pictures)), NODE)
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; by default all")
    wanted = parser.parse_args().names
    hosts = find_hosts()
    if not hosts:
        raise SystemExit(f"no ComfyUI found in {search_places()}")
    if missing := what_is_missing():
        raise SystemExit(f"this needs {missing}")
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name, _ in PLACES.values():
            place_stand_ins(base, shipped(name))
        server = stack.enter_context(start_server(hosts[-1], base))
        page = stack.enter_context(open_page(server))
        for name, take in PICTURES.items():
            if wanted and name not in wanted:
                continue
            path = (IN_README if name == "canvas" else IN_HELP) / f"{name}.jpg"
            side_by_side(take(page, server)).save(path, quality=86, optimize=True)
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
