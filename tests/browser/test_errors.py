"""What goes wrong is said on the page in the node's own words: what it is, and what to do."""

import json
import re

import pytest
import torch
from graphs import WORKFLOWS
from safetensors.torch import save_file

SECONDS = 300
INTERNALS = re.compile(r"Traceback|File \"|\.py\b|line \d+|Error:")
SAYS = (
    "words => [...document.querySelectorAll('[role=dialog], [role=alert]')]"
    ".some(one => words.every(part => one.innerText.includes(part)))"
)
WITH_MOTION_MODULE = """() => {
    const {graph} = window.app;
    const module = LiteGraph.createNode("VCD_LoadMotionModule");
    graph.add(module);
    module.widgets[0].value = "holiday.safetensors";
    const [demo, sampler] = ["VCD_DemoModel", "VCD_Sampler"].map(kind => graph.nodes.find(node => node.type === kind));
    demo.connect(0, module, 0);
    module.connect(0, sampler, 0);
}"""


def no_photos(page, server):
    page.set("VCD_LoadIdentityPhotos", "folder", "(none)")


def a_token_that_is_gone(page, server):
    page.set("VCD_LoadIDToken", "file", "nobody.safetensors")


def no_motion_module(page, server):
    save_file({"sand": torch.zeros(1)}, server.model_folder("animatediff_models") / "holiday.safetensors")
    page.page.evaluate(WITH_MOTION_MODULE)


def a_name_with_a_folder(page, server):
    page.set("VCD_TrainIDToken", "name", "friends/ava")


def a_prompt_that_names_nobody(page, server):
    page.set("StringReplace", "string", "a photo of a SUBJECT and embedding:nobody")


MISTAKES = {
    no_photos: ("there are no photos: choose a folder or connect images, 5-10 of one subject",),
    a_token_that_is_gone: ("nobody.safetensors", "was not found", "embeddings"),
    no_motion_module: ("holiday.safetensors", "is not a motion module", "Use an AnimateDiff v2 or v3"),
    a_name_with_a_folder: ("friends/ava", "letters, digits"),
    a_prompt_that_names_nobody: ("a prompt names embedding:nobody", "check the name", "train it"),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_page_says_what_is_wrong_and_what_to_do(mistake, page, server):
    page.load(json.loads((WORKFLOWS / "demo_t2v.json").read_text(encoding="utf-8")))
    page.set("VCD_TrainIDToken", "steps", 1)
    page.set("VCD_TrainIDToken", "name", "mistaken")
    mistake(page, server)
    page.press_run()
    page.page.wait_for_function(SAYS, arg=list(MISTAKES[mistake]), timeout=SECONDS * 1000)
    assert not INTERNALS.search(page.told())
    page.dismiss()
    assert not [error for error in page.errors if "/extensions/" in error]
    page.errors.clear()  # the page itself logs what a server refuses
