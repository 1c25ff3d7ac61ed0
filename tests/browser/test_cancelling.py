"""Cancelling on the page stops whatever is at work, and what is queued next runs."""

import json
import time

import psutil
import pytest
from graphs import WORKFLOWS

STAGES = ["VCD_TrainIDToken", "VCD_Sampler", "VCD_FaceVCD", "VCD_TiledVCD"]
MANY, FEW = 500, 2  # steps
SECONDS = 2
PATIENCE = 900
# Faces are not to be found after so little training: a mask stands for them, which is drawn however large it is.
MASK_FOR_FACES = """() => {
    const {graph} = window.app;
    const mask = LiteGraph.createNode("SolidMask");
    graph.add(mask);
    for (const side of ["width", "height"]) mask.widgets.find(widget => widget.name === side).value = 128;
    const faces = graph.nodes.find(node => node.type === "VCD_FaceVCD");
    mask.connect(0, faces, faces.inputs.findIndex(input => input.name === "masks"));
}"""


@pytest.fixture(scope="module")
def demo(page):
    """The template demo_full, which has all stages, with few steps each."""
    page.load(json.loads((WORKFLOWS / "demo_full.json").read_text(encoding="utf-8")))
    page.page.evaluate(MASK_FOR_FACES)
    page.set("VCD_TrainIDToken", "name", "cancelled")
    page.set("VCD_FaceVCD", "min_enlargement", 0)
    for kind in STAGES:
        page.set(kind, "steps", FEW)
    return page


def events(record: dict) -> dict[str, dict]:
    return dict(record["status"]["messages"])


@pytest.mark.parametrize("kind", STAGES)
def test_cancel_stops_each_stage_soon_and_the_next_run_ends_well(kind, demo, server):
    """Soon is by the clock, or by the processor's where others keep it busy."""
    demo.set(kind, "steps", MANY)
    demo.press_run()
    demo.wait_for_progress(kind, PATIENCE)
    process = psutil.Process(server.process.pid)
    with demo.menu():
        before, asked = sum(process.cpu_times()[:2]), time.monotonic()
        demo.button("Cancel current run").click()
        record = server.newest_record()
        wall, cpu = time.monotonic() - asked, sum(process.cpu_times()[:2]) - before
    print(f"{kind} stopped after {wall:.2f} s by the clock, {cpu:.2f} s of the processor")
    assert "execution_interrupted" in events(record)
    assert min(wall, cpu) < SECONDS
    assert "error" not in demo.told().lower()

    demo.set(kind, "steps", FEW)
    demo.press_run()
    assert "execution_success" in events(server.newest_record())


def test_the_same_once_more_is_not_made_anew(demo, server):
    demo.press_run()
    record = server.newest_record()
    done = events(record)
    assert "execution_success" in done
    assert set(done["execution_cached"]["nodes"]) == set(record["prompt"][2])
