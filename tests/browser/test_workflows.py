"""ComfyUI's page opens the shipped workflows and would send what their API files hold."""

import json
from itertools import combinations

import pytest
from graphs import WORKFLOWS, shipped
from ui_workflows import BYPASSED, MUTED, completed, overlap, renamed, to_api

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))


def sent(page) -> dict:
    """What pressing Run would send, without the titles that the page adds."""
    return {key: {"class_type": node["class_type"], "inputs": node["inputs"]} for key, node in page.prompt().items()}


@pytest.fixture(scope="module", params=NAMES)
def opened(request, page) -> tuple[str, dict]:
    workflow = json.loads((WORKFLOWS / f"{request.param}.json").read_text(encoding="utf-8"))
    page.load(workflow)
    return request.param, workflow


def test_no_node_is_missing(opened, page):
    assert page.missing_types() == []


def test_run_sends_the_api_file(opened, page, server):
    """And what our own converter makes of the file, so that the node tests may rely on that one."""
    name, workflow = opened
    object_info = server.object_info()
    assert renamed(sent(page)) == renamed(completed(shipped(name), object_info))
    assert sent(page) == to_api(workflow, object_info)


def test_nothing_overlaps_as_drawn(opened, page):
    boxes = page.boxes()
    assert [(a, b) for a, b in combinations(boxes, 2) if overlap(boxes[a], boxes[b])] == []


@pytest.mark.parametrize("mode", [MUTED, BYPASSED])
@pytest.mark.parametrize("kind", ["VCD_LoadMotionLoRA", "VAEDecode"])
def test_the_converter_mutes_and_bypasses_as_the_page_does(mode, kind, page, server):
    workflow = json.loads((WORKFLOWS / "t2v_motion_lora.json").read_text(encoding="utf-8"))
    next(node for node in workflow["nodes"] if node["type"] == kind)["mode"] = mode
    page.load(workflow)
    assert sent(page) == to_api(workflow, server.object_info())


def test_the_converter_skips_the_value_of_an_upload_button_as_the_page_does(page, server):
    node = {"id": 1, "type": "LoadImageMask", "pos": [0, 0], "size": [300, 300], "flags": {}, "order": 0, "mode": 0}
    node |= {"inputs": [], "outputs": [], "properties": {}, "widgets_values": ["photo.png", "red", "image"]}
    workflow = {"last_node_id": 1, "last_link_id": 0, "nodes": [node], "links": [], "groups": [], "version": 0.4}
    page.load(workflow)
    assert sent(page) == to_api(workflow, server.object_info())
