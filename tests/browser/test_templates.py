"""The page's Browse Templates shows the pack's workflows, and opens them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from comfyui_hosts import PACK
from graphs import WORKFLOWS

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
THUMBNAIL = (640, 360)


LOADED = (
    "([name, width, height]) => [...document.querySelectorAll('[role=dialog] img')]"
    ".some(one => one.alt === name && one.naturalWidth === width && one.naturalHeight === height)"
)


@pytest.fixture
def templates(page) -> Iterator[Any]:
    """The dialog, opened by its button, with the pack's templates in it."""
    with page.menu():
        page.button("Templates").click()
        dialog = page.page.get_by_role("dialog")
        dialog.get_by_text(PACK, exact=True).first.click()
        dialog.get_by_alt_text(NAMES[0]).first.wait_for()
        yield dialog
        page.page.keyboard.press("Escape")
        dialog.wait_for(state="detached")


def bring_into_view(templates, name: str) -> None:
    """A template's title, and its picture above: the page makes pictures when they come into view."""
    templates.get_by_text(name, exact=True).first.evaluate("title => title.scrollIntoView({block: 'end'})")


def test_every_workflow_is_there_with_its_thumbnail(templates, page):
    for name in NAMES:
        bring_into_view(templates, name)
        page.page.wait_for_function(LOADED, arg=[name, *THUMBNAIL])


def test_a_click_opens_one(templates, page):
    expected = json.loads((WORKFLOWS / "demo_t2v.json").read_text(encoding="utf-8"))["nodes"]
    page.page.evaluate("() => window.app.graph.clear()")
    bring_into_view(templates, "demo_t2v")
    templates.get_by_alt_text("demo_t2v", exact=True).first.click()
    page.page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(expected))
    assert page.missing_types() == []
    shown = page.page.evaluate("() => window.app.graph.nodes.map(node => node.type)")
    assert sorted(shown) == sorted(node["type"] for node in expected)
