"""Workflows that the pack shipped before nodes got more inputs, some of them between others: tests/data/older.

first: of the demo's first day. before_hold_norm: a training without hold_norm, context_weight, mask_margin and decay.
strength_first: Face VCD's strength came before its steps.
"""

import json
from pathlib import Path

import pytest

OLDER = sorted((Path(__file__).parents[1] / "data/older").glob("*.json"))
SECONDS = 900
CAME_LATER = {"hold_norm": False, "context_weight": 0.0, "mask_margin": 0.0, "decay": 0.0}
SAMPLING = {"seed": 0, "steps": 20, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal", "gamma": 0.1}
EXPECTED = {
    "first": {
        "VCD_TrainIDToken": CAME_LATER
        | {"name": "demo_mia", "noun": "woman", "steps": 300, "batch_size": 8, "learning_rate": 0.01, "seed": 0}
        | {"token_count": 4, "resolution": 128, "overwrite": True, "augment": True, "early_stop": False}
        | {"save_memory": True, "sample_every": 50, "initial_words": "", "schedule": "the model's own"},
        "VCD_LoadIDToken": {"file": "(none)", "strength": 1.0, "second_token": "(none)", "share": 0.5},
        "VCD_Sampler": SAMPLING,
    },
    "before_hold_norm": {
        "VCD_TrainIDToken": CAME_LATER
        | {"name": "demo_mia", "noun": "woman", "steps": 200, "batch_size": 8, "learning_rate": 0.003, "seed": 0}
        | {"token_count": 4, "resolution": 128, "overwrite": False, "augment": False, "early_stop": False}
        | {"save_memory": False, "sample_every": 50, "initial_words": "", "schedule": "the model's own"},
        "VCD_Sampler": SAMPLING,
    },
    "strength_first": {
        "VCD_TrainIDToken": {"hold_norm": True, "context_weight": 1.0, "schedule": "the model's own", "decay": 0.0},
        "VCD_FaceVCD": SAMPLING
        | {"strength": 0.6, "size": 128, "crop_factor": 1.6, "mask_factor": 1.3, "feather": 0.4, "window": 16}
        | {"faces": "largest first", "which": -1, "upright": False, "overlap": 4},
    },
}


@pytest.fixture(scope="module", params=OLDER, ids=lambda path: path.stem)
def opened(request, page) -> str:
    page.load(json.loads(request.param.read_text(encoding="utf-8")))
    return request.param.stem


def test_no_node_is_missing_and_no_link(opened, page):
    assert page.missing_types() == []
    saved = json.loads((OLDER[0].parent / f"{opened}.json").read_text(encoding="utf-8"))
    kinds = {node["id"]: node["type"] for node in saved["nodes"]}
    names = {(node["id"], slot): one["name"] for node in saved["nodes"] for slot, one in enumerate(node["inputs"])}
    links = [[kinds[a], kinds[b], names[b, slot]] for _, a, _, b, slot, _ in saved["links"]]
    shown = page.page.evaluate(
        "() => app.graph.nodes.flatMap(node => node.inputs.filter(input => input.link != null).map(input => "
        "[app.graph.getNodeById(app.graph.links.get(input.link).origin_id).type, node.type, input.name]))"
    )
    assert sorted(shown) == sorted(links)


def test_every_value_is_where_it_belongs(opened, page):
    sent = {node["class_type"]: node["inputs"] for node in page.prompt().values()}
    for kind, values in EXPECTED[opened].items():
        assert {name: sent[kind][name] for name in values} == values


def test_it_runs(opened, page, server):
    for node, settings in (
        ("VCD_TrainIDToken", {"steps": 2, "name": f"older_{opened}"}),
        ("VCD_Sampler", {"steps": 2}),
        ("VCD_FaceVCD", {"steps": 2}),
    ):
        if page.page.evaluate("kind => app.graph.nodes.some(node => node.type === kind)", node):
            for widget, value in settings.items():
                page.set(node, widget, value)
    page.press_run()
    assert server.newest_record(SECONDS)["status"]["status_str"] == "success"
