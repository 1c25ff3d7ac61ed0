"""The page in Chinese speaks Chinese about our nodes."""

import json
import re
from collections.abc import Iterator

import pytest
from comfyui_hosts import ROOT
from frontend import Page

CHINESE = re.compile(r"[\u4e00-\u9fff]")
NAMES = json.loads((ROOT / "locales/zh/nodeDefs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def chinese(page) -> Iterator[Page]:
    page.speak("zh")
    yield page
    page.speak("en")


@pytest.mark.parametrize("kind", NAMES)
def test_nodes_inputs_and_outputs_have_their_chinese_names(kind, chinese):
    chinese.add(kind)
    title, inputs, outputs = chinese.page.evaluate(
        "() => { const [node] = app.graph.nodes; const shown = one => [one.name, one.label ?? one.localized_name];"
        " return [node.title, [...node.inputs, ...node.widgets].map(shown), node.outputs.map(shown)] }"
    )
    assert title == NAMES[kind]["display_name"]
    inputs, said = dict(inputs), NAMES[kind]["inputs"]
    assert {name: inputs[name] for name in said} == {name: one["name"] for name, one in said.items()}
    outputs = {str(number): label for number, (_, label) in enumerate(outputs)}
    named = NAMES[kind]["outputs"]
    assert {number: outputs[number] for number in named} == {number: one["name"] for number, one in named.items()}


def test_panels_speak_chinese(chinese):
    chinese.add("VCD_Sampler")
    assert CHINESE.search(chinese.page.inner_text(".vcd-note"))
    chinese.add("VCD_LoadIdentityPhotos")
    assert chinese.page.inner_text(".vcd-panel button") == "添加照片"


def test_every_text_of_the_panels_has_its_chinese(chinese):
    """What the modules say by `words("…")` is in the table of words.js, and nothing else is."""
    modules = [path.read_text(encoding="utf-8") for path in (ROOT / "web/js").glob("*.js")]
    said = {text for module in modules for text in re.findall(r'words\(\s*"((?:[^"\\]|\\.)*)"', module)}
    table = next(module for module in modules if "const CHINESE" in module)
    listed = set(re.findall(r'^  "(.*?)": ".*[\u4e00-\u9fff].*",$', table, re.M))
    assert said == listed
