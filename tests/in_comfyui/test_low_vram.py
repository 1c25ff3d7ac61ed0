"""Motion modules under ComfyUI's low-VRAM offloading, as far as a machine without a GPU can show it.

What does not fit stays in main memory, and the layers fetch it whenever they run. Whether everything meets on one
device is asked of a GPU that PyTorch pretends to have, which knows shapes and devices but no numbers; whether the
numbers are right, of the CPU.
"""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from vcd_pack.nodes.host.motion import add_motion_lora, add_motion_module
from vcd_pack.vcd_core.motion.layers import Linear

GPU = torch.device("cuda:0")
FRAMES = 3


@pytest.fixture
def lora_file(motion_file, tmp_path):
    """A motion LoRA of rank 2 for every projection to queries of that module."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for name, weight in load_file(motion_file).items():
        if name.endswith(".to_q.weight"):
            key = name.replace(".to_q.weight", ".processor.to_q_lora")
            tensors[f"{key}.down.weight"] = torch.randn(2, weight.shape[1], generator=generator)
            tensors[f"{key}.up.weight"] = torch.randn(len(weight), 2, generator=generator)
    save_file(tensors, tmp_path / "lora.safetensors")
    return tmp_path / "lora.safetensors"


@pytest.fixture
def on_a_gpu(narrow, motion_file, lora_file, monkeypatch):
    """The patcher of a motion module, with a LoRA, that was made for a model which is to run on a GPU."""
    model, _ = narrow
    monkeypatch.setenv("VCD_KERNELS", "torch")
    with torch.inference_mode():
        monkeypatch.setattr(model, "load_device", GPU)
        moving = add_motion_lora(add_motion_module(model, motion_file, own_schedule=True), lora_file, 0.5)
    (weights,) = moving.get_additional_models()
    assert weights.load_device == GPU
    return weights


def run(weights, x):
    """Every level of the module, one temporal transformer each."""
    module = weights.model
    blocks = [*module.down_blocks, module.mid_block, *module.up_blocks]
    return [
        block.motion_modules[0](
            x.repeat(1, block.motion_modules[0].temporal_transformer.norm.num_channels // 32, 1, 1), FRAMES
        )
        for block in blocks
    ]


def test_comfyui_counts_every_weight(on_a_gpu):
    assert on_a_gpu.model_size() == sum(tensor.nbytes for tensor in on_a_gpu.model.state_dict().values())


def _replace(module, change):
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(change(parameter), requires_grad=False)
        for name, buffer in part._buffers.items():
            part._buffers[name] = change(buffer)
    return module


@pytest.mark.parametrize("share", [0.0, 0.3, 2.0])
def test_layers_fetch_what_is_left_in_main_memory(on_a_gpu, share, monkeypatch):
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    monkeypatch.setattr(nn.Module, "to", lambda module, device: _replace(module, lambda tensor: tensor.to(device)))
    with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True) as mode:
        _replace(on_a_gpu.model, mode.from_tensor)
        on_a_gpu.load(GPU, lowvram_model_memory=int(share * on_a_gpu.model_size()))
        there = {tensor.device.type for tensor in on_a_gpu.model.parameters()}
        assert there == ({"cpu", "cuda"} if share == 0.3 else {"cuda"} if share > 1 else {"cpu"})
        for made in run(on_a_gpu, torch.empty(2 * FRAMES, 32, 4, 4, device=GPU)):
            assert made.device == GPU


def test_a_part_in_main_memory_makes_the_same_clip(on_a_gpu):
    """On the CPU both are one place, but the layers take the same ways, and LoRAs are added whenever a layer runs."""
    cpu, x = torch.device("cpu"), torch.randn(2 * FRAMES, 32, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        plain = run(on_a_gpu, x)
        on_a_gpu.load(cpu, full_load=True)
        whole = run(on_a_gpu, x)
        on_a_gpu.partially_unload(cpu, on_a_gpu.model_size() // 2)
        assert 0 < on_a_gpu.loaded_size() < 0.6 * on_a_gpu.model_size()
        assert on_a_gpu.lowvram_patch_counter() > 0
        in_parts = run(on_a_gpu, x)
    assert_close(in_parts, whole, rtol=1e-4, atol=1e-4)
    assert all((one - other).abs().max() > 1e-2 for one, other in zip(whole, plain, strict=True))


def test_fused_layers_make_the_same_clip_before_with_and_without_a_lora(on_a_gpu, narrow, motion_file, lora_file):
    """Those of the CPU; ComfyUI puts other weights in their place and the own ones back."""
    model, cpu = narrow[0], torch.device("cpu")
    x = torch.randn(2 * FRAMES, 32, 4, 4, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "load_device", cpu)
        moving = add_motion_lora(add_motion_module(model, motion_file, own_schedule=True), lora_file, 0.5)
        (fused,) = moving.get_additional_models()
        assert any(type(layer) is Linear for layer in fused.model.modules())
        assert not any(type(layer) is Linear for layer in on_a_gpu.model.modules())
        made = []
        for weights in (fused, on_a_gpu):
            made.append([run(weights, x)])
            weights.load(cpu, full_load=True)
            made[-1].append(run(weights, x))
            weights.unpatch_model(cpu)
            made[-1].append(run(weights, x))
    assert_close(*made, rtol=1e-4, atol=1e-4)
    (before, patched, after), _ = made
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert all((one - other).abs().max() > 1e-2 for one, other in zip(before, patched, strict=True))
