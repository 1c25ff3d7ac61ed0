"""Run on the page: what it makes is shown there."""

import json

import pytest
from graphs import WORKFLOWS, read_video, shipped, video

PLAYING = "() => [...document.querySelectorAll('video')].some(v => v.readyState >= 2 && v.currentTime > 0)"
PLAY = "() => document.querySelectorAll('video').forEach(v => { v.muted = true; v.play() })"
FIRST_FOUND = (
    "name => [...document.querySelectorAll('[role=option]')]"
    ".map(one => one.innerText.replace(/\\s+/g, ' ').trim()).find(Boolean)?.includes(name)"
)
SECONDS = 300


FEW_STEPS = {"VCD_TrainIDToken": {"steps": 3, "name": "pressed"}, "VCD_Sampler": {"steps": 2}}


@pytest.fixture(scope="module")
def pressed(page, server) -> dict:
    """The demo with fewer steps, run by the button: the server's record of it."""
    page.load(json.loads((WORKFLOWS / "demo_t2v.json").read_text(encoding="utf-8")))
    for node, settings in FEW_STEPS.items():
        for widget, value in settings.items():
            page.set(node, widget, value)
    page.show("SaveVideo")
    page.press_run()
    return server.newest_record(SECONDS)


@pytest.mark.usefixtures("pressed")
def test_pressing_run_makes_a_clip_that_plays_on_the_canvas(page):
    page.page.wait_for_selector("video", state="attached")
    page.page.evaluate(PLAY)
    page.page.wait_for_function(PLAYING, timeout=20_000)
    assert page.errors == []


def test_the_clip_is_the_one_that_the_api_file_makes(pressed, server):
    graph = shipped("demo_t2v")
    for kind, settings in FEW_STEPS.items():
        graph.set(kind, **settings)
    (server.model_folder("embeddings") / "vcd_demo/pressed.safetensors").unlink()
    server.free()
    result = server.queue(graph).check()
    assert result.cached == []
    saver = next(key for key, node in pressed["prompt"][2].items() if node["class_type"] == "SaveVideo")
    (file,) = next(entries for entries in pressed["outputs"][saver].values() if isinstance(entries[0], dict))
    by_page, _ = read_video(server.base / file["type"] / file["subfolder"] / file["filename"])
    by_api, _ = video(result, graph.find("SaveVideo"))
    assert (by_page == by_api).all()


def test_each_node_is_found_by_the_page_s_search(page, server):
    names = {kind: node["display_name"] for kind, node in server.object_info().items() if kind.startswith("VCD_")}
    page.page.evaluate("() => window.app.graph.clear()")
    for number, name in enumerate(names.values(), 1):
        page.page.evaluate("() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        words = page.page.locator(".comfy-vue-node-search-container input, [role=dialog] input[role=combobox]").first
        words.fill(name)
        page.page.wait_for_function(FIRST_FOUND, arg=name)
        words.press("Enter")
        words.wait_for(state="hidden")
        page.page.wait_for_timeout(300)
        page.page.mouse.move(790, 490)
        page.page.mouse.click(800, 500)  # puts a node down that hangs at the pointer
        page.page.wait_for_function("count => window.app.graph.nodes.length === count", arg=number)
    assert set(page.page.evaluate("() => window.app.graph.nodes.map(n => n.type)")) == set(names)
