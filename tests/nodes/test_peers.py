"""Beside AnimateDiff-Evolved: both packs work, and with the same files they make the same clip.

Needs a checkout in VCD_HOME/peers/ComfyUI-AnimateDiff-Evolved; that pack asks for ComfyUI 0.3.68 or newer.
"""

import pytest
import random_models
from comfyui_hosts import ROOT, vcd_home
from comfyui_server import start_server
from graphs import Sampling, latents

PEER = vcd_home() / "peers" / "ComfyUI-AnimateDiff-Evolved"

pytestmark = pytest.mark.skipif(not PEER.is_dir(), reason=f"no AnimateDiff-Evolved in {PEER}")


@pytest.fixture(scope="module")
def both(host, tmp_path_factory):
    """A server with both packs."""
    if host.key < (0, 3, 68):
        pytest.skip(f"AnimateDiff-Evolved needs a newer ComfyUI than {host.version}")
    base = tmp_path_factory.mktemp(f"peers-{host.version}-")
    with start_server(host, base, packs=(ROOT, PEER)) as server:
        server.place("checkpoints", random_models.sd15_checkpoint(), "sd15.safetensors")
        server.place("animatediff_motion_lora", random_models.motion_lora(), "lora.safetensors")
        for version in ("v2", "v3"):
            server.place("animatediff_models", random_models.motion_module(version), f"{version}.safetensors")
        yield server


@pytest.mark.parametrize(("version", "lora_strength", "seed"), [("v3", None, 1), ("v2", None, 2), ("v2", 0.7, 3)])
def test_same_files_same_clip(both, version, lora_strength, seed):
    sampling = Sampling("sd15.safetensors", frames=8)
    graph, module = sampling.graph, f"{version}.safetensors"
    plain = sampling.sample("KSampler", steps=3, seed=seed)

    ours = graph.add("VCD_LoadMotionModule", model=sampling.model, motion_module=module, noise_schedule="AnimateDiff")
    theirs = {"model": sampling.model, "model_name": module, "beta_schedule": "sqrt_linear (AnimateDiff)"}
    if lora_strength is not None:
        ours = graph.add("VCD_LoadMotionLoRA", model=[ours, 0], motion_lora="lora.safetensors", strength=lora_strength)
        lora = graph.add("ADE_AnimateDiffLoRALoader", name="lora.safetensors", strength=lora_strength)
        theirs["motion_lora"] = [lora, 0]
    peer = graph.add("ADE_AnimateDiffLoaderGen1", **theirs)

    clips = {
        name: sampling.sample("KSampler", model=[key, 0], steps=3, seed=seed)
        for name, key in (("ours", ours), ("peer", peer))
    }
    result = both.queue(graph).check()
    ours, peer, plain = latents(result, clips["ours"]), latents(result, clips["peer"]), latents(result, plain)
    difference = ((ours - peer).norm() / peer.norm()).item()
    effect = ((plain - peer).norm() / peer.norm()).item()
    print(f"{version}, LoRA {lora_strength}: relative difference {difference:.2e}, effect of motion {effect:.2f}")
    assert difference <= 1e-3
    assert effect > 0.05
