"""Segment by Prompt on a real server, with files of random weights in the published layouts."""

import pytest
import torch
from graphs import Graph
from random_segmenters import random_sam, write_grounding_dino


@pytest.fixture(scope="module")
def files(server):
    folder = server.model_folder("grounding-dino") / "tiny"
    if not folder.exists():
        write_grounding_dino(folder)
        server.model_folder("sams").mkdir(parents=True, exist_ok=True)
        torch.save(random_sam(), server.model_folder("sams") / "sam_vit_b.pth")
    return {"grounding_dino": "tiny", "sam": "sam_vit_b.pth"}


def segmenting(folder, **inputs):
    graph = Graph()
    loaded = graph.add("VCD_LoadIdentityPhotos", folder=folder)
    # Random weights are sure of nothing.
    inputs = {"prompt": "person", "box_threshold": 0.01, "text_threshold": 0.01, "choice": "best score", **inputs}
    segment = graph.add("VCD_SegmentByPrompt", photos=[loaded, 0], **inputs)
    graph.add("PreviewImage", images=[segment, 1])
    return graph


def test_photos_are_segmented(server, photos, files):
    graph = segmenting(photos, **files)
    result = server.queue(graph).check()
    assert result.images(graph.find("PreviewImage")).shape == (4, 512, 512, 3)
    (report,) = result.outputs[graph.find("VCD_SegmentByPrompt")]["text"]
    assert report == "4 of 4 photos have a mask"


def test_absent_and_wrong_files_are_named(server, photos, files):
    for absent, folder in ({"sam": "absent.pth"}, "sams"), ({"grounding_dino": "absent"}, "grounding-dino"):
        result = server.queue(segmenting(photos, **{**files, **absent}))
        assert result.status == "invalid"
        (errors,) = result.node_errors.values()
        assert errors["class_type"] == "VCD_SegmentByPrompt"
        assert str(server.model_folder(folder)) in str(errors["errors"])
    (server.model_folder("sams") / "text.pth").write_text("not a model")
    result = server.queue(segmenting(photos, **{**files, "sam": "text.pth"}))
    assert result.error.node_type == "VCD_SegmentByPrompt"
    assert "text.pth is damaged" in result.error.exception_message
