"""Workflows in the UI format, and what ComfyUI's page would send to the server for them.

The page keeps the values of a node's widgets in one list without names, in the order in which the server lists
the node's inputs, with a value more behind a seed (what happens to it after a run) and behind an upload button.
So the list means something only beside the server's description of the node (`/object_info`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from comfyui_server import Graph

Workflow = dict[str, Any]  # ComfyUI's UI format: {"nodes": […], "links": […], "groups": […], …}
ObjectInfo = dict[str, dict[str, Any]]

NOTES = {"Note", "MarkdownNote"}  # nodes that the server never hears of
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
DYNAMIC_COMBO = "COMFY_DYNAMICCOMBO_V3"  # a choice that brings inputs of its own
SEEDS = {"seed", "noise_seed"}
UPLOADS = {"image_upload", "video_upload", "audio_upload"}
FILE_FOLDERS = {  # inputs that offer a user's own files, and where these belong
    "ckpt_name": "models/checkpoints",
    "motion_module": "models/animatediff_models",
    "motion_lora": "models/animatediff_motion_lora",
    "folder": "input",
    "file": "input",
    "grounding_dino": "models/grounding-dino",
    "sam": "models/sams",
}
OF_THE_PACK = "demo://"  # begins the names of folders that come with the pack
NOTHING = "(none)"
MUTED, BYPASSED = 2, 4  # values of a node's "mode"
TITLE_HEIGHT = 30


# --- a node's inputs, as the server describes them ---------------------------------------------------


def inputs_of(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], bool]]:
    """(name, type, options, is optional) of each input; a list of choices is a COMBO with options["options"]."""
    for section in ("required", "optional"):
        for name, (kind, *rest) in described.get(section, {}).items():
            options = dict(rest[0]) if rest else {}
            if isinstance(kind, list):
                kind, options = "COMBO", {**options, "options": kind}
            yield name, kind, options, section == "optional"


def is_widget(kind: str, options: dict[str, Any]) -> bool:
    return kind in {*WIDGET_TYPES, DYNAMIC_COMBO} and not options.get("forceInput")


def has_control(name: str, kind: str, options: dict[str, Any]) -> bool:
    """Whether a second widget says what becomes of the value after a run. A seed has one unless told otherwise."""
    return kind == "INT" and bool(options.get("control_after_generate", name in SEEDS))


def choices(kind: str, options: dict[str, Any]) -> list[Any] | None:
    """What a choice offers, None for other inputs."""
    if kind == DYNAMIC_COMBO:
        return [option["key"] for option in options["options"]]
    return options.get("options", []) if kind == "COMBO" else None


def default(kind: str, options: dict[str, Any]) -> Any:
    """What the page puts into a new widget."""
    if "default" in options:
        return options["default"]
    offered = choices(kind, options)
    if offered is not None:
        return next(iter(offered), None)
    return {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}[kind]


def chosen_inputs(options: dict[str, Any], choice: Any) -> dict[str, Any]:
    """The inputs that a choice of a dynamic combo brings."""
    return next((option["inputs"] for option in options["options"] if option["key"] == choice), {})


def user_files(node: dict[str, Any]) -> dict[str, str]:
    """Of a node in API format: the inputs that name a user's own file or folder, and the names."""
    chosen = {name: node["inputs"][name] for name in FILE_FOLDERS.keys() & node["inputs"].keys()}
    return {name: value for name, value in chosen.items() if not value.startswith((OF_THE_PACK, NOTHING))}


# --- UI format -> API format -------------------------------------------------------------------------


def to_api(workflow: Workflow, object_info: ObjectInfo) -> Graph:
    """What pressing Run sends. Links win over widgets; muted and bypassed nodes and notes stay at home.

    Raises:
        KeyError: a node that the server does not know.
        ValueError: too few or too many widget values.
    """
    nodes = {node["id"]: node for node in workflow["nodes"] if node["type"] not in NOTES}
    links = {link[0]: link for link in workflow["links"]}
    graph = {}
    for node in nodes.values():
        if node["mode"] in (MUTED, BYPASSED):
            continue
        described = object_info[node["type"]]["input"]
        values = iter(node.get("widgets_values", []))
        inputs = read_widgets(described, values)
        if surplus := list(values):
            raise ValueError(f"{node['type']} {node['id']} has no widgets for the values {surplus}")
        for socket in node["inputs"]:
            if source := link_source(links.get(socket["link"]), nodes, links):
                inputs[socket["name"]] = source
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return graph


def read_widgets(described: dict[str, Any], values: Iterator[Any], prefix: str = "") -> dict[str, Any]:
    """Input name -> value. Where the values end, the rest has its defaults, as in the page.

    Raises:
        ValueError: an input is left without a value that is neither optional nor part of a choice. Those a newer
            host may have added; for any other, a default would stand in for what the file should say.
    """
    found = {}
    uploads = 0
    for name, kind, options, is_optional in inputs_of(described):
        if not is_widget(kind, options):
            continue
        try:
            value = next(values)
        except StopIteration:
            if not is_optional and not prefix:
                raise ValueError(f"there is no value for the widget {name!r}") from None
            value = default(kind, options)
        found[prefix + name] = value
        if has_control(name, kind, options):
            next(values, None)
        if kind == DYNAMIC_COMBO:
            found |= read_widgets(chosen_inputs(options, value), values, f"{prefix}{name}.")
        uploads += bool(UPLOADS & options.keys())
    for _ in range(uploads):
        next(values, None)
    return found


def link_source(link: list | None, nodes: dict[int, dict], links: dict[int, list]) -> list | None:
    """[node id, output] where a link begins in the end; None behind a muted node or without a link.

    A bypassed node hands on its input of the type of the output: the one in the same place, else the first.
    """
    while link:
        _, origin, slot, *_, kind = link
        node = nodes[origin]
        if node["mode"] == MUTED:
            return None
        if node["mode"] != BYPASSED:
            return [str(origin), slot]
        sockets = node["inputs"][slot : slot + 1] + node["inputs"]
        link = next((links.get(socket["link"]) for socket in sockets if socket["type"] == kind), None)
    return None


# --- graphs, compared --------------------------------------------------------------------------------


def completed(graph: Graph, object_info: ObjectInfo) -> Graph:
    """With the defaults of what this host offers beyond the graph: optional inputs, and those of choices.

    Hosts differ in these and in nothing else, so one file can serve all of them.
    """

    def complete(described: dict[str, Any], inputs: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        for name, kind, options, is_optional in inputs_of(described):
            if is_widget(kind, options) and (is_optional or prefix):
                inputs = {prefix + name: default(kind, options), **inputs}
            if kind == DYNAMIC_COMBO:
                choice = inputs.get(prefix + name)
                inputs = complete(chosen_inputs(options, choice), inputs, f"{prefix}{name}.")
        return inputs

    return {
        key: {**node, "inputs": complete(object_info[node["class_type"]]["input"], node["inputs"])}
        for key, node in graph.items()
    }


def is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)


def renamed(graph: Graph) -> Graph:
    """The same graph with ids that follow from its content: two that differ in ids alone become equal."""
    signatures: dict[str, str] = {}

    def signature(key: str) -> str:
        if key not in signatures:
            node = graph[key]
            inputs = {
                name: [signature(value[0]), value[1]] if is_link(value) else value
                for name, value in node["inputs"].items()
            }
            inputs = {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in inputs.items()}
            content = json.dumps([node["class_type"], inputs], sort_keys=True)
            signatures[key] = hashlib.sha256(content.encode()).hexdigest()
        return signatures[key]

    count: Counter[str] = Counter()
    names = {}
    for key in sorted(graph, key=signature):
        kind = graph[key]["class_type"]
        count[kind] += 1
        names[key] = f"{kind} {count[kind]}"
    return {
        names[key]: {
            "class_type": node["class_type"],
            "inputs": {
                name: [names[value[0]], value[1]] if is_link(value) else value for name, value in node["inputs"].items()
            },
        }
        for key, node in graph.items()
    }


# --- the drawing -------------------------------------------------------------------------------------

Box = tuple[float, float, float, float]  # (x0, y0, x1, y1), canvas units


def node_box(node: dict[str, Any]) -> Box:
    """With the title, which is drawn above the position."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE_HEIGHT, x + width, y + height


def group_box(group: dict[str, Any]) -> Box:
    x, y, width, height = group["bounding"]
    return x, y, x + width, y + height


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(inner: Box, outer: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and inner[2] <= outer[2] and inner[3] <= outer[3]
