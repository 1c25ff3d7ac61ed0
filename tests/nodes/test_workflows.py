"""The shipped workflows: the file for the canvas, its twin for the API and its thumbnail say the same."""

import json
from itertools import combinations

import pytest
from graphs import WORKFLOWS, shipped
from PIL import Image
from ui_workflows import (
    DYNAMIC_COMBO,
    FILE_FOLDERS,
    NOTES,
    choices,
    completed,
    group_box,
    inputs_of,
    inside,
    node_box,
    overlap,
    renamed,
    to_api,
    user_files,
)

NAMES = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
every_workflow = pytest.mark.parametrize("name", NAMES)


def workflow(name: str) -> dict:
    return json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8"))


def real_nodes(name: str) -> list[dict]:
    return [node for node in workflow(name)["nodes"] if node["type"] not in NOTES]


@pytest.fixture(scope="module")
def object_info(server) -> dict:
    return server.object_info()


def walk(described: dict, chosen: dict | None = None, prefix: str = ""):
    """(name, type, options) of every input, with those that choices bring: the chosen ones, or all."""
    for name, kind, options, _ in inputs_of(described):
        key = prefix + name
        yield key, kind, options
        if kind == DYNAMIC_COMBO:
            for option in options["options"]:
                if chosen is None or chosen.get(key) == option["key"]:
                    yield from walk(option["inputs"], chosen, f"{key}.")


def test_every_workflow_comes_with_its_api_twin_and_its_thumbnail():
    assert NAMES
    assert sorted(path.stem for path in (WORKFLOWS / "api").glob("*.json")) == NAMES
    assert sorted(path.stem for path in WORKFLOWS.glob("*.jpg")) == NAMES


@every_workflow
def test_a_thumbnail_is_small(name):
    path = WORKFLOWS / f"{name}.jpg"
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == ("JPEG", (640, 360))
    assert path.stat().st_size < 80_000


@every_workflow
def test_the_canvas_sends_what_the_api_file_holds(name, object_info):
    sent = to_api(workflow(name), object_info)
    assert renamed(sent) == renamed(completed(shipped(name), object_info))


@every_workflow
def test_links_join_sockets_of_one_type(name, object_info):
    nodes = {node["id"]: node for node in workflow(name)["nodes"]}
    links = workflow(name)["links"]
    for number, origin, output, target, slot, kind in links:
        begin, end = nodes[origin], nodes[target]
        socket = end["inputs"][slot]
        wanted = {key: expected for key, expected, _, _ in inputs_of(object_info[end["type"]]["input"])}
        assert object_info[begin["type"]]["output"][output] == kind == wanted[socket["name"]], (begin["type"], socket)
        assert begin["outputs"][output]["type"] == kind == socket["type"]
        assert number in begin["outputs"][output]["links"]
        assert socket["link"] == number
    # No socket knows a link that the list does not.
    numbers = {link[0] for link in links}
    sockets = [socket for node in nodes.values() for socket in node["inputs"]]
    assert {socket["link"] for socket in sockets} - {None} == numbers
    outputs = [output for node in nodes.values() for output in node["outputs"]]
    assert {number for output in outputs for number in output["links"] or []} == numbers


@every_workflow
def test_only_nodes_of_comfyui_and_ours_occur(name, object_info):
    for node in real_nodes(name):
        module = object_info[node["type"]]["python_module"]
        assert node["type"].startswith("VCD_") or module == "nodes" or module.startswith("comfy_extras.")


def test_every_node_of_ours_occurs_in_a_workflow(object_info):
    ours = {kind for kind in object_info if kind.startswith("VCD_")}
    assert ours <= {node["type"] for name in NAMES for node in real_nodes(name)}


@every_workflow
def test_what_is_chosen_is_on_offer(name, object_info):
    for node in completed(shipped(name), object_info).values():
        for key, kind, options in walk(object_info[node["class_type"]]["input"], node["inputs"]):
            offered = choices(kind, options)
            if offered is not None and key in node["inputs"] and key not in user_files(node):
                assert node["inputs"][key] in offered, (node["class_type"], key)


def test_every_input_of_our_nodes_has_a_tooltip(object_info):
    silent = [
        f"{kind}.{key}"
        for kind, described in object_info.items()
        if kind.startswith("VCD_")
        for key, _, options in walk(described["input"])
        if not options.get("tooltip")
    ]
    assert not silent


@every_workflow
def test_the_note_names_every_file_and_where_it_goes(name):
    (note,) = [node["widgets_values"][0] for node in workflow(name)["nodes"] if node["type"] in NOTES]
    for node in shipped(name).values():
        for key, file in user_files(node).items():
            assert file in note
            assert FILE_FOLDERS[key] in note
        if "embedding:" in str(node["inputs"].get("text")):
            assert "models/embeddings" in note


@every_workflow
def test_the_layout_is_readable(name):
    """Nothing lies on anything else, and every node lies in one group with a title; groups run left to right."""
    drawn = workflow(name)
    boxes = {f"{node['id']} {node['type']}": node_box(node) for node in drawn["nodes"]}
    groups = [group_box(group) for group in drawn["groups"]]
    assert [(a, b) for a, b in combinations(boxes, 2) if overlap(boxes[a], boxes[b])] == []
    assert not any(overlap(a, b) for a, b in combinations(groups, 2))
    assert groups == sorted(groups)
    assert [group["title"][:1] for group in drawn["groups"]] == [str(i + 1) for i in range(len(groups))]
    for node in drawn["nodes"]:
        homes = [group for group in groups if inside(node_box(node), group)]
        assert len(homes) == (node["type"] not in NOTES), node["type"]
        assert all(group in homes or not overlap(node_box(node), group) for group in groups)
