"""The ground the other node tests stand on: a host starts, lists our nodes, and makes pictures."""

import numpy as np
import pytest


def text_to_image(checkpoint: str, prompt: str = "a photo", seed: int = 0, steps: int = 2) -> dict:
    def node(class_type: str, **inputs) -> dict:
        return {"class_type": class_type, "inputs": inputs}

    sampling = dict(seed=seed, steps=steps, cfg=4.0, sampler_name="euler", scheduler="normal", denoise=1.0)
    return {
        "model": node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "positive": node("CLIPTextEncode", text=prompt, clip=["model", 1]),
        "negative": node("CLIPTextEncode", text="", clip=["model", 1]),
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=2),
        "sample": node(
            "KSampler",
            model=["model", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
            **sampling,
        ),
        "decode": node("VAEDecode", samples=["sample", 0], vae=["model", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="test/image"),
    }


@pytest.fixture(scope="module")
def pictures(server, checkpoint) -> np.ndarray:
    return server.queue(text_to_image(checkpoint)).check().images("save")


def test_every_host_lists_our_nodes(server):
    ours = [name for name in server.object_info() if name.startswith("VCD_")]
    assert ours, f"the pack gave no nodes:\n{server.log()}"
    assert "IMPORT FAILED" not in server.log_path.read_text()


def test_each_host_runs_with_its_own_frontend_and_templates(server):
    pins = dict(line.split("==") for line in server.host.requirements() if "==" in line)
    assert (server.host.site / "comfyui_frontend_package").is_dir()
    stats = server.get("/system_stats")["system"]
    assert stats["installed_templates_version"] == pins["comfyui-workflow-templates"]


def test_random_checkpoint_makes_pictures(pictures):
    assert pictures.shape == (2, 64, 64, 3)
    assert np.isfinite(pictures).all()
    assert (pictures.std(axis=(1, 2)) > 0.02).all()


def test_pictures_depend_on_noise_and_prompt(server, checkpoint, pictures):
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.02
    other = server.queue(text_to_image(checkpoint, prompt="a drawing of the sea")).check().images("save")
    assert np.abs(other - pictures).mean() > 0.005


def test_a_running_prompt_can_be_interrupted(server, checkpoint):
    with server.running(text_to_image(checkpoint, seed=1, steps=500)) as wait:
        wait.until("progress")
        server.interrupt()
        assert wait().status == "interrupted"


def test_a_graph_that_cannot_run_is_refused_with_its_node(server):
    result = server.queue(text_to_image("no-such-file.safetensors"))
    assert result.status == "invalid"
    assert "model" in result.node_errors


def test_a_node_that_fails_is_named(server):
    (server.input_directory / "broken.png").write_bytes(b"not a picture")
    graph = {
        "load": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}},
        "show": {"class_type": "PreviewImage", "inputs": {"images": ["load", 0]}},
    }
    result = server.queue(graph)
    assert result.status == "error"
    assert result.error.node_type == "LoadImage"
    assert result.error.exception_type
    assert "load" in result.error.traceback
