"""Run on the page: what it makes is shown there."""

import json

import pytest
from graphs import WORKFLOWS

PLAYING = "() => [...document.querySelectorAll('video')].some(v => v.readyState >= 2 && v.currentTime > 0)"
PLAY = "() => document.querySelectorAll('video').forEach(v => { v.muted = true; v.play() })"
SECONDS = 300


@pytest.fixture
def demo(page):
    """The demo with fewer steps."""
    page.load(json.loads((WORKFLOWS / "demo_t2v.json").read_text(encoding="utf-8")))
    for node, widget, value in (
        ("VCD_TrainIDToken", "steps", 3),
        ("VCD_TrainIDToken", "name", "pressed"),
        ("VCD_Sampler", "steps", 2),
    ):
        page.set(node, widget, value)
    page.show("SaveVideo")
    return page


def test_pressing_run_makes_a_clip_that_plays_on_the_canvas(demo):
    demo.press_run()
    demo.page.wait_for_selector("video", state="attached", timeout=SECONDS * 1000)
    demo.page.evaluate(PLAY)
    demo.page.wait_for_function(PLAYING, timeout=20_000)
    assert demo.errors == []


def test_each_node_is_found_by_the_page_s_search(page, server):
    names = {kind: node["display_name"] for kind, node in server.object_info().items() if kind.startswith("VCD_")}
    page.page.evaluate("() => window.app.graph.clear()")
    for number, name in enumerate(names.values(), 1):
        page.page.evaluate("() => window.app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
        words = page.page.locator(".comfy-vue-node-search-container input, [role=dialog] input[role=combobox]").first
        words.fill(name)
        page.page.wait_for_timeout(700)  # in which it looks
        words.press("Enter")
        page.page.wait_for_timeout(300)
        page.page.mouse.move(790, 490)
        page.page.mouse.click(800, 500)  # puts a node down that hangs at the pointer
        page.page.wait_for_function("count => window.app.graph.nodes.length === count", arg=number, timeout=5000)
    assert set(page.page.evaluate("() => window.app.graph.nodes.map(n => n.type)")) == set(names)
