"""What users get wrong, and what they are told."""

import pickle
import time

import pytest
import torch
from graphs import Sampling, training
from safetensors.torch import load_file


def motion_graph(checkpoint, module, frames=1):
    sampling = Sampling(checkpoint, frames=frames)
    motion = sampling.graph.add(
        "VCD_LoadMotionModule", model=sampling.model, motion_module=module, noise_schedule="AnimateDiff"
    )
    sampling.sample(model=[motion, 0])
    return sampling.graph


BAD_MODULES = ("truncated.safetensors", "text.ckpt", "empty.safetensors", "malicious.ckpt", "checkpoint.safetensors")


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_file_that_is_no_motion_module_is_named_and_never_run(server, checkpoint, motion_module, tmp_path):
    folder = server.model_folder("animatediff_models")
    good = (folder / motion_module).read_bytes()
    (folder / "truncated.safetensors").write_bytes(good[: len(good) // 2])
    (folder / "text.ckpt").write_text("not a model")
    (folder / "empty.safetensors").write_bytes(b"")
    trap = tmp_path / "the pickle was run"
    (folder / "malicious.ckpt").write_bytes(pickle.dumps({"state_dict": Malicious(trap)}))
    (folder / "checkpoint.safetensors").symlink_to((server.model_folder("checkpoints") / checkpoint).resolve())
    try:
        for name in BAD_MODULES:
            result = server.queue(motion_graph(checkpoint, name))
            assert result.status == "error", name
            assert result.error.node_type == "VCD_LoadMotionModule"
            assert result.error.exception_type == "ValueError"
            assert name in result.error.exception_message
            if name == "malicious.ckpt":
                assert "could run code, so it was refused" in result.error.exception_message
        assert not trap.exists()
    finally:
        for name in BAD_MODULES:
            (folder / name).unlink()


def refused(result, node_type, *words):
    """The prompt was not accepted, and the node's own message holds the words."""
    assert result.status == "invalid", result
    (errors,) = [entry for entry in result.node_errors.values() if entry["class_type"] == node_type]
    text = str(errors["errors"])
    assert all(word in text for word in words), text


def test_a_missing_model_file_says_where_to_put_it(server, checkpoint):
    result = server.queue(motion_graph(checkpoint, "v4_sd15_mm.ckpt"))
    refused(result, "VCD_LoadMotionModule", "v4_sd15_mm.ckpt", "animatediff_models")


def test_more_frames_than_the_module_knows(server, checkpoint, motion_module):
    result = server.queue(motion_graph(checkpoint, motion_module, frames=33))
    assert result.status == "error"
    assert "33" in result.error.exception_message
    assert "32" in result.error.exception_message
    server.queue(motion_graph(checkpoint, motion_module, frames=2)).check()


def test_a_motion_lora_without_a_module(server, checkpoint, motion_lora):
    sampling = Sampling(checkpoint, frames=1)
    lora = sampling.graph.add("VCD_LoadMotionLoRA", model=sampling.model, motion_lora=motion_lora, strength=1.0)
    sampling.sample(model=[lora, 0])
    result = server.queue(sampling.graph)
    assert result.error.node_type == "VCD_LoadMotionLoRA"
    assert "Load Motion Module" in result.error.exception_message


@pytest.mark.parametrize("gamma", [-0.1, 1.1])
def test_gamma_outside_its_range(server, checkpoint, gamma):
    sampling = Sampling(checkpoint, frames=1)
    sampling.sample(gamma=gamma)
    refused(server.queue(sampling.graph), "VCD_Sampler", "gamma")


@pytest.mark.parametrize("name", ["../ava", "/tmp/ava", "a/b", "C:\\ava", "a b", ""])
def test_a_token_name_with_a_path_in_it(server, checkpoint, photos, name):
    before = sorted(server.base.rglob("*.safetensors*"))
    refused(server.queue(training(checkpoint, photos, name)), "VCD_TrainIDToken", "token name")
    assert sorted(server.base.rglob("*.safetensors*")) == before


@pytest.mark.parametrize("folder", ["absent", "../../etc", "/etc"])
def test_a_photo_folder_that_is_not_there(server, checkpoint, folder):
    refused(server.queue(training(checkpoint, folder, "nobody")), "VCD_LoadIdentityPhotos", "input")


def test_no_photos_at_all(server, checkpoint):
    result = server.queue(training(checkpoint, "(none)", "nobody"))
    assert result.error.node_type == "VCD_LoadIdentityPhotos"
    assert "no photos" in result.error.exception_message


def test_a_broken_photo_is_named(server, checkpoint):
    folder = server.input_directory / "broken"
    folder.mkdir(exist_ok=True)
    (folder / "IMG_1.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a jpeg")
    result = server.queue(training(checkpoint, "broken", "nobody"))
    assert "IMG_1.jpg" in result.error.exception_message


def test_cancelling_a_training_leaves_a_usable_token_and_what_it_needs_to_go_on(server, checkpoint, photos):
    running = server.running(training(checkpoint, photos, "cancelled", steps=500))
    with running as wait:
        wait.until("progress")
        time.sleep(0.5)
        server.interrupt()
        result = wait()
    assert result.status == "interrupted"
    kept = list(server.model_folder("embeddings").glob("*cancelled*"))
    assert sorted(path.suffix for path in kept) == [".safetensors", ".training"]
    assert torch.isfinite(load_file(kept[0].parent / "cancelled_partial.safetensors")["clip_l"]).all()
    for path in kept:
        path.unlink()
