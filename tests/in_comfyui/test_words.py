"""What is said about the nodes, and what was once shipped: nothing is missing, left over, or lost."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from vcd_pack.nodes import VCDExtension

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "tests/data/shipped_nodes.json"
NODES = asyncio.run(VCDExtension().get_node_list())
SCHEMAS = {schema.node_id: schema for schema in (node.define_schema() for node in NODES)}
SPECIAL = re.compile(r"[@{}|$]")  # the page's translations read these as something else
CHINESE = re.compile(r"[\u4e00-\u9fff]")
NO_CHINESE = {"CLIP", "VAE", "CFG", "gamma", "GroundingDINO", "SAM", "Hugging Face ID"}

every_node = pytest.mark.parametrize("node", SCHEMAS)


@pytest.fixture(scope="module")
def chinese() -> dict:
    return json.loads((ROOT / "locales/zh/nodeDefs.json").read_text(encoding="utf-8"))


@every_node
def test_every_node_has_a_help_page(node):
    text = (ROOT / f"web/docs/{node}.md").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert len(text) > 300


@every_node
def test_a_help_page_names_every_input_and_shows_a_picture(node):
    page = ROOT / f"web/docs/{node}.md"
    text = page.read_text(encoding="utf-8")
    assert [one.id for one in SCHEMAS[node].inputs if not re.search(rf"\b{one.id}\b", text)] == []
    pictures = re.findall(r"!\[.+\]\((images/\w+\.jpg)\)", text)
    assert pictures
    assert [name for name in pictures if not (page.parent / name).is_file()] == []


def test_no_help_page_is_about_a_node_that_is_not_there():
    assert {path.stem for path in (ROOT / "web/docs").glob("*.md")} == set(SCHEMAS)


@every_node
def test_every_input_has_a_tooltip(node):
    assert [one.id for one in SCHEMAS[node].inputs if not one.tooltip] == []


def test_the_chinese_texts_are_about_the_nodes_that_there_are(chinese):
    assert set(chinese) == set(SCHEMAS)


@every_node
def test_every_node_input_and_output_speaks_chinese(node, chinese):
    schema, said = SCHEMAS[node], chinese[node]
    assert set(said) == {"display_name", "description", "inputs", "outputs"}
    assert set(said["inputs"]) == {one.id for one in schema.inputs}
    named = [str(number) for number, one in enumerate(schema.outputs) if one.display_name]
    assert list(said["outputs"]) == named  # the others are called by their type, for which the page has its own word
    names = [said["display_name"], *(one["name"] for one in (*said["inputs"].values(), *said["outputs"].values()))]
    texts = [said["description"], *(one["tooltip"] for one in said["inputs"].values())]
    for text in [*(name for name in names if name not in NO_CHINESE), *texts]:
        assert CHINESE.search(text), text
    assert [text for text in [*names, *texts] if SPECIAL.search(text)] == []


def test_every_category_speaks_chinese():
    said = json.loads((ROOT / "locales/zh/main.json").read_text(encoding="utf-8"))["nodeCategories"]
    assert set(said) == {part for schema in SCHEMAS.values() for part in schema.category.split("/")}


@every_node
def test_what_was_shipped_stays(node):
    """Saved workflows name nodes, inputs and outputs, and list widgets by their order: these lists grow at the end.

    A node or an input that is new is written into the file here, and nothing is ever taken out of it.
    """
    shipped = json.loads(SHIPPED.read_text(encoding="utf-8"))
    assert set(shipped) == set(SCHEMAS), f"{SHIPPED.name} names every node; take none out, add what is new"
    schema = SCHEMAS[node]
    now = [f"{one.id} {one.get_io_type()}{' optional' if one.optional else ''}" for one in schema.inputs]
    assert now == shipped[node]["inputs"], "append what is new to the file, change or remove nothing"
    assert [one.get_io_type() for one in schema.outputs] == shipped[node]["outputs"]
