"""Photos -> ID token -> clip -> video file, by the shipped workflows."""

import pytest
import torch
from graphs import Sampling, latents, shipped, small, training, video
from PIL import Image
from real_photos import portrait_crops
from safetensors import safe_open


@pytest.fixture(scope="session")
def token(server, checkpoint, photos) -> str:
    """The name of a token that the shipped workflow trained."""
    result = server.queue(training(checkpoint, photos, "ava")).check()
    graph = shipped("train_id_token")
    assert result.progress[graph.find("VCD_TrainIDToken")] == 3
    assert result.outputs[graph.find("VCD_TrainIDToken")]["vcd_token"][0]["prompt"] == "embedding:ava woman"
    (said,) = result.outputs[graph.find("VCD_TrainIDToken")]["text"]
    assert "ava.safetensors" in said
    assert "what the model draws for woman alone stays as it was" in said
    assert result.images(graph.find("SaveImage")).shape == (2, 64, 64, 3)
    return "ava"


def test_training_writes_a_small_embedding_with_its_story(server, token):
    path = server.model_folder("embeddings") / f"{token}.safetensors"
    with safe_open(path, framework="pt") as file:
        assert list(file.keys()) == ["clip_l"]
        vectors, metadata = file.get_tensor("clip_l"), file.metadata()
    assert vectors.shape == (4, 768)
    assert torch.isfinite(vectors).all()
    assert metadata["noun"] == "woman"
    assert metadata["steps"] == "3"
    assert path.stat().st_size < 25_000
    assert metadata["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    assert [entry.name for entry in path.parent.iterdir() if entry.is_file()] == [path.name]


def test_the_same_training_again_is_not_done_again(server, checkpoint, photos, token):
    """Not even by a ComfyUI that has forgotten its results; other settings leave the token alone."""
    folder = server.model_folder("embeddings")
    before = (folder / f"{token}.safetensors").read_bytes()
    result = server.queue(training(checkpoint, photos, token, sample_every=7)).check()  # of no effect on the token
    (said,) = result.outputs[shipped("train_id_token").find("VCD_TrainIDToken")]["text"]
    assert "used as it is" in said
    server.queue(training(checkpoint, photos, token, seed=1)).check()
    assert (folder / f"{token}.safetensors").read_bytes() == before
    (folder / f"{token}_2.safetensors").unlink()


def test_the_token_makes_a_video(server, checkpoint, motion_module, token):
    graph = small(shipped("t2v_vcd"), frames=16, steps=2)
    graph.set("CheckpointLoaderSimple", ckpt_name=checkpoint)
    graph.set("VCD_LoadMotionModule", motion_module=motion_module)
    result = server.queue(graph).check()
    frames, rate = video(result, graph.find("SaveVideo"))
    assert rate == 8
    assert frames.shape == (16, 64, 64, 3)
    assert frames.std() > 5


def test_the_prompt_really_contains_the_vectors(server, checkpoint, token):
    """The embedding acts like nothing else: another token and the bare noun give other clips."""
    folder = server.model_folder("embeddings")
    log_before = len(server.log_path.read_text(errors="replace"))
    (folder / "other.safetensors").write_bytes((folder / f"{token}.safetensors").read_bytes()[:-4] + b"\0\0\x80\x3f")
    clips = []
    for subject in ("woman", f"embedding:{token} woman", "embedding:other woman"):
        sampling = Sampling(checkpoint, frames=1, prompt=f"a photo of {subject}")
        key = sampling.sample()
        clips.append(latents(server.queue(sampling.graph).check(), key))
    (folder / "other.safetensors").unlink()
    assert not torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[1], clips[2])
    assert "does not exist, ignoring" not in server.log_path.read_text(errors="replace")[log_before:]


def test_images_and_masks_from_other_nodes_train_too(server, checkpoint):
    """One photo and a batch of four: it trains all the same."""
    picture = portrait_crops(1)[0]
    picture.putalpha(Image.new("L", picture.size, 255))
    path = server.input_directory / "single.png"
    picture.save(path)
    graph = training(checkpoint, "(none)", "single", batch_size=4, steps=2)
    loaded = graph.add("LoadImage", image="single.png")
    graph[graph.find("VCD_LoadIdentityPhotos")]["inputs"].update(images=[loaded, 0], masks=[loaded, 1])
    del graph[graph.find("SaveImage")]
    server.queue(graph).check()
    assert (server.model_folder("embeddings") / "single.safetensors").exists()
