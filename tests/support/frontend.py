"""ComfyUI's page in a real Chromium, driven by Playwright."""

import contextlib
import importlib.util
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from comfyui_server import Graph, Server
from PIL import Image
from ui_workflows import FILE_FOLDERS, Box, Workflow, user_files

START_SECONDS = 300
TRANSLATED_HELP = re.compile(r"/docs/\w+/\w+\.md$")  # the page looks for it first; ours is in one language
TOGGLE_FOCUS = (
    "() => window.app.extensionManager.command.execute('Workspace.ToggleFocusMode')"  # hides all but the canvas
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SETTINGS = {
    "Comfy.TutorialCompleted": True,  # else the page opens with a tour or with its templates
    "Comfy.Minimap.Visible": False,
    "Comfy.Graph.CanvasInfo": False,
    "Comfy.Graph.CanvasMenu": False,
    "Comfy.NodeBadge.NodeSourceBadgeMode": "None",
}


def chromium() -> str | None:
    """The path of a Chromium: CHROMIUM_PATH, or the first one on PATH."""
    return os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, BROWSERS)), None)


def what_is_missing() -> str:
    """What the browser tests cannot do without and is not here; empty if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "playwright (pip install playwright)"
    return "" if chromium() else "a Chromium on PATH or in CHROMIUM_PATH"


def place_stand_ins(base: Path, graph: Graph) -> None:
    """Puts empty files into a base directory where a graph wants a user's, so that the page misses none."""
    for node in graph.values():
        for name, file in user_files(node).items():
            path = base / FILE_FOLDERS[name] / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix:
                path.touch()
            else:
                path.mkdir(exist_ok=True)
                Image.new("RGB", (64, 64)).save(path / "photo.png")


class Page:
    """The canvas of a server's page. Made by `open_page`."""

    def __init__(self, page: Any, home: str) -> None:
        """
        Args:
            home: the server's address. What others do not send is no error.
        """
        self.page = page
        self.home = home
        self.errors: list[str] = []  # of our pack: exceptions that nothing caught, and red lines of the console
        page.on("pageerror", lambda error: self._note(f"{error}\n{error.stack}"))
        page.on("console", self._read)

    def _read(self, message: Any) -> None:
        source = message.location.get("url") or self.home
        if message.type == "error" and source.startswith(self.home) and not TRANSLATED_HELP.search(source):
            self._note(f"{message.text} ({source})")

    def _note(self, error: str) -> None:
        if "vcd" in error.lower():
            self.errors.append(error)

    def add(self, kind: str) -> int:
        """Clears the canvas and puts one node on it; returns its id."""
        self.page.evaluate("() => { window.app.graph.clear(); window.app.canvas.ds.reset() }")
        key = self.page.evaluate(
            "kind => { const node = LiteGraph.createNode(kind); node.pos = [100, 100]; window.app.graph.add(node);"
            " return node.id }",
            kind,
        )
        self.show(kind)
        return key

    def show(self, kind: str) -> None:
        """Brings a node into view: the page hides the HTML of those that are out of it."""
        self.page.evaluate(
            "kind => { const {canvas, graph} = window.app; const node = graph.nodes.find(n => n.type === kind);"
            " canvas.ds.scale = 0.8; canvas.ds.offset = [200 - node.pos[0], 60 - node.pos[1]];"
            " canvas.setDirty(true, true) }",
            kind,
        )
        self.page.wait_for_timeout(500)

    def set(self, node: int | str, widget: str, value: Any) -> None:
        """Sets a widget of a node, by its id or class, as its control on the canvas does."""
        self.page.evaluate(
            "([key, name, value]) => { const node = window.app.graph.nodes.find(n => n.id === key || n.type === key);"
            " const widget = node.widgets.find(w => w.name === name);"
            " widget.setValue(value, {e: {}, node, canvas: window.app.canvas}) }",
            [node, widget, value],
        )

    def wait(self) -> None:
        """Until every node is known and nothing is in front of the canvas."""
        self.page.wait_for_function(
            "() => window.app?.vueAppReady && 'VCD_Sampler' in (window.LiteGraph?.registered_node_types ?? {})",
            timeout=START_SECONDS * 1000,
        )
        self.page.evaluate(TOGGLE_FOCUS)

    def speak(self, language: str) -> None:
        """Loads the page anew in another language, such as "zh"."""
        self.page.evaluate("locale => window.app.extensionManager.setting.set('Comfy.Locale', locale)", language)
        self.page.wait_for_timeout(500)  # in which the server keeps it
        self.page.reload()
        self.wait()
        self.page.wait_for_timeout(2000)  # in which what was open before is opened again

    def load(self, workflow: Workflow) -> None:
        """Opens a workflow in UI format, as dragging its file onto the canvas does."""
        self.page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)
        self.page.wait_for_function("count => window.app.graph.nodes.length === count", arg=len(workflow["nodes"]))
        self.page.wait_for_timeout(300)  # a few frames, in which nodes grow to what their widgets need

    def prompt(self) -> Graph:
        """What pressing Run would send."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    @contextlib.contextmanager
    def menu(self) -> Iterator[None]:
        """Within it the page's menus and buttons are there."""
        self.page.evaluate(TOGGLE_FOCUS)
        self.page.wait_for_timeout(1000)  # in which they come
        yield
        self.page.evaluate(TOGGLE_FOCUS)

    def button(self, name: str) -> Any:
        """Of the page, by its name."""
        return self.page.get_by_role("button", name=name, exact=True).first

    def press_run(self) -> None:
        """Clicks the button that queues the workflow."""
        queued = self.page.expect_request(lambda asked: asked.method == "POST" and asked.url.endswith("/prompt"))
        with self.menu(), queued:
            self.button("Run").click()

    def wait_for_progress(self, kind: str, seconds: float) -> None:
        """Until the node of a class says how far it is."""
        self.page.evaluate(
            "([kind, seconds]) => new Promise((resolve, reject) => { const {api, graph} = window.app;"
            " const heard = ({detail}) => { if (graph.getNodeById(detail.node)?.type !== kind) return;"
            " api.removeEventListener('progress', heard); resolve() };"
            " api.addEventListener('progress', heard);"
            " setTimeout(() => reject(new Error(`${kind} did not begin`)), 1000 * seconds) })",
            [kind, seconds],
        )

    def told(self) -> str:
        """What dialogs and messages in front of the canvas say."""
        return self.page.evaluate(
            "() => [...document.querySelectorAll('[role=dialog], [role=alert], [role=status]')]"
            ".map(one => one.innerText.trim()).filter(Boolean).join('\\n')"
        )

    def dismiss(self) -> None:
        """Closes what is in front of the canvas."""
        self.page.keyboard.press("Escape")
        self.page.evaluate("() => window.app.extensionManager.toast.removeAll()")

    def missing_types(self) -> list[str]:
        """The types of the nodes that are drawn red, because the server does not know them."""
        return self.page.evaluate(
            "() => window.app.graph.nodes.map(n => n.type).filter(t => !(t in LiteGraph.registered_node_types))"
        )

    def boxes(self) -> dict[int, Box]:
        """node id -> (x0, y0, x1, y1) as drawn, title included."""
        boxes = self.page.evaluate(
            "() => window.app.graph.nodes.map(n => "
            "[n.id, n.pos[0], n.pos[1] - LiteGraph.NODE_TITLE_HEIGHT, n.pos[0] + n.size[0], n.pos[1] + n.size[1]])"
        )
        return {int(key): tuple(box) for key, *box in boxes}

    def screenshot(self, path: Path, box: Box, scale: float = 1.0) -> None:
        """A picture of the canvas from (x0, y0) to (x1, y1), menus and the page's own buttons hidden."""
        x0, y0, x1, y1 = box
        self.page.set_viewport_size({"width": round((x1 - x0) * scale), "height": round((y1 - y0) * scale)})
        self.page.evaluate(
            "([x, y, scale]) => { const {canvas} = window.app; canvas.ds.scale = scale; canvas.ds.offset = [-x, -y];"
            " canvas.setDirty(true, true) }",
            [x0, y0, scale],
        )
        self.page.wait_for_timeout(1000)
        self.page.screenshot(path=path, style="button:not(.vcd-panel *) { visibility: hidden }")


@contextlib.contextmanager
def open_page(server: Server) -> Iterator[Page]:
    """ComfyUI's page with every node known and nothing in front of the canvas. Only the server is reachable."""
    from playwright.sync_api import sync_playwright

    server.post("/settings", SETTINGS).raise_for_status()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        try:
            context = browser.new_context(
                viewport={"width": 1600, "height": 900}, permissions=["clipboard-read", "clipboard-write"]
            )
            opened = Page(page := context.new_page(), server.url)
            page.route(lambda url: url.startswith("http") and not url.startswith(server.url), lambda r: r.abort())
            page.goto(server.url, timeout=START_SECONDS * 1000)
            opened.wait()
            yield opened
        finally:
            browser.close()
