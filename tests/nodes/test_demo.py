"""The shipped demo: photos of a character of the pack -> ID token -> clip, with whatever weights the model has."""

from collections.abc import Iterator

import pytest
import torch
from comfyui_server import Result
from graphs import Graph, shipped, video
from safetensors.torch import load_file

from demo.people import CAST

AFTER_THE_SAMPLER = {"VCD_Sampler", "VAEDecode", "CreateVideo", "SaveVideo"}


def quick() -> Graph:
    """The demo with fewer steps."""
    return shipped("demo_t2v").set("VCD_TrainIDToken", steps=3, batch_size=2).set("VCD_Sampler", steps=2)


def ran(graph: Graph, result: Result) -> set[str]:
    """The classes of the nodes whose results were not reused."""
    return {graph[key]["class_type"] for key in graph.keys() - set(result.cached)}


@pytest.fixture(scope="module")
def first(server) -> Iterator[Result]:
    """The demo's first run; its token is gone when these tests are over, as others share the server's folders."""
    yield server.queue(quick()).check()
    (server.model_folder("embeddings") / "vcd_demo/demo_mia.safetensors").unlink()


def test_one_press_makes_a_token_and_a_clip(server, first):
    graph = quick()
    assert first.progress[graph.find("VCD_TrainIDToken")] == 3
    frames, rate = video(first, graph.find("SaveVideo"))
    assert rate == 8
    assert frames.shape == (16, 128, 128, 3)
    assert frames.std() > 5
    tokens = load_file(server.model_folder("embeddings") / "vcd_demo/demo_mia.safetensors")
    assert {name: vectors.shape for name, vectors in tokens.items()} == {"clip_l": (4, 192)}
    assert torch.isfinite(tokens["clip_l"]).all()


@pytest.mark.usefixtures("first")
def test_a_second_press_makes_nothing_anew(server):
    assert ran(quick(), server.queue(quick()).check()) == set()


@pytest.mark.usefixtures("first")
def test_another_gamma_samples_alone(server):
    graph = quick().set("VCD_Sampler", gamma=0.5)
    assert ran(graph, server.queue(graph).check()) == AFTER_THE_SAMPLER


def test_other_photos_change_the_clip_of_the_same_words(server, first):
    """The prompt's text stays what it was, `embedding:demo_mia woman`: only the vectors behind it are others."""
    graph = quick().set("VCD_LoadIdentityPhotos", folder="demo://otto (man)").set("VCD_TrainIDToken", overwrite=True)
    result = server.queue(graph).check()
    assert ran(graph, result) >= {"VCD_TrainIDToken", "CLIPTextEncode"} | AFTER_THE_SAMPLER
    (other, _), (mias, _) = (video(one, graph.find("SaveVideo")) for one in (result, first))
    assert (other != mias).any()


def test_the_characters_of_the_demo_are_on_offer(server):
    _, options = server.object_info("VCD_LoadIdentityPhotos")["input"]["required"]["folder"]
    offered = [name for name in options["options"] if name.startswith("demo://")]
    assert offered == [f"demo://{name} ({noun})" for name, (noun, _) in CAST.items()]


@pytest.mark.parametrize("kind", ["VCD_TrainIDToken", "VCD_Sampler", "VCD_FaceVCD", "VCD_TiledVCD"])
def test_whatever_is_at_work_stops_when_asked_and_leaves_the_server_usable(server, kind):
    """Every stage but the one that is stopped is over soon; that one would take minutes. A mask stands for faces, which
    are not to be found after so little training.
    """
    graph = shipped("demo_full").set("VCD_TrainIDToken", steps=2, batch_size=2, name="stopped", overwrite=True)
    everywhere = graph.add("SolidMask", value=1.0, width=128, height=128)
    graph[graph.find("VCD_FaceVCD")]["inputs"]["masks"] = [everywhere, 0]
    for stage in ("VCD_Sampler", "VCD_FaceVCD", "VCD_TiledVCD"):
        graph.set(stage, steps=2)
    graph.set(kind, steps=500)
    with server.running(graph) as wait:
        while wait.until("progress")["node"] != graph.find(kind):
            assert not wait.result.status
        server.interrupt()
        assert wait().status == "interrupted"
    assert wait.result.progress.get(graph.find(kind), 0) < 50
    assert server.queue(graph.set(kind, steps=2)).check().ok
    for left in (server.model_folder("embeddings") / "vcd_demo").glob("stopped*"):
        left.unlink()
