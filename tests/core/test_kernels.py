"""What holds of the kernels without a GPU, and when PyTorch takes their place."""

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kernel_resources import (
    ATTENTION_TARGETS,
    ATTENTION_VARIANTS,
    NOISE_TARGETS,
    NOISE_VARIANTS,
    attention_resources,
    noise_resources,
)
from kernel_table import PAGE, page, section
from scipy import stats
from torch.testing import assert_close

from vcd_core.kernels import attention, choice, temporal_attention
from vcd_core.kernels.noise import philox4x32
from vcd_core.noise import counter_noise

INTERPRETED = Path(__file__).parents[1] / "interpreted"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="needs Triton")
CLIPS, FRAMES, POSITIONS, HEADS, WIDTH = 2, 5, 3, 2, 8


@pytest.fixture
def qkv(rng):
    return torch.randn(3, CLIPS * FRAMES, POSITIONS, HEADS * WIDTH, generator=rng)


def attention_by_hand(q, k, v, visible=None):
    """One softmax at a time, in float64."""
    result = torch.zeros(q.shape, dtype=torch.float64)
    q, k, v = q.double(), k.double(), v.double()
    for clip in range(CLIPS):
        frames = range(clip * FRAMES, (clip + 1) * FRAMES)
        seen = [f for f in frames if visible is None or visible[clip, f - frames.start]]
        for position in range(POSITIONS):
            for head in range(HEADS):
                part = (position, slice(head * WIDTH, (head + 1) * WIDTH))
                for frame in frames:
                    logits = [float(q[frame][part] @ k[other][part]) / math.sqrt(WIDTH) for other in seen]
                    weights = [math.exp(logit) for logit in logits]
                    for other, weight in zip(seen, weights, strict=True):
                        result[frame][part] += weight / sum(weights) * v[other][part]
    return result


@pytest.mark.parametrize(
    "visible",
    [None, torch.tensor([[True, False, True, True, False], [False] * 4 + [True]]), torch.zeros(CLIPS, FRAMES).bool()],
    ids=["all frames", "some frames", "no frame"],
)
def test_attention_is_the_weighted_mean_over_the_visible_frames_of_the_same_clip_and_position(qkv, visible):
    assert_close(
        temporal_attention(*qkv, FRAMES, HEADS, visible=visible).double(),
        attention_by_hand(*qkv, visible),
        rtol=0,
        atol=1e-6,
    )


def test_one_row_of_visible_frames_is_for_all_clips(qkv):
    visible = torch.tensor([True, True, False, True, False])
    expected = attention_by_hand(*qkv, visible.expand(CLIPS, FRAMES))
    assert_close(temporal_attention(*qkv, FRAMES, HEADS, visible=visible).double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("frames", "heads"), [(4, 2), (5, 3)])
def test_frames_and_heads_that_do_not_divide_are_refused(qkv, frames, heads):
    with pytest.raises(ValueError, match=f"does not divide into clips of {frames} frames and {heads} heads"):
        temporal_attention(*qkv, frames, heads)


def test_parts_that_do_not_fit_each_other_are_refused(qkv):
    with pytest.raises(ValueError, match="of one shape and dtype"):
        temporal_attention(qkv[0], qkv[1].half(), qkv[2], FRAMES, HEADS)


@pytest.mark.parametrize("visible", [torch.ones(FRAMES), torch.ones(FRAMES + 1).bool(), torch.ones(3, FRAMES).bool()])
def test_visible_frames_that_do_not_fit_are_refused(qkv, visible):
    with pytest.raises(ValueError, match="visible must be bool of shape"):
        temporal_attention(*qkv, FRAMES, HEADS, visible=visible)


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_philox_gives_the_published_words(counter, key, words):
    """Known answers of Random123, the reference implementation."""
    assert tuple(philox4x32(counter, key)) == words
    tensors = philox4x32([torch.tensor([c]) for c in counter], key)
    assert tuple(int(word) for word in tensors) == words


@pytest.mark.parametrize("gamma", [0.0, 0.15, 1.0])
def test_counter_noise_has_the_prior_s_covariance_and_normal_frames(gamma):
    noise = counter_noise((4, 4, 64, 129), gamma, 2**63 + 5).flatten(1).double()
    frame = torch.arange(4)
    expected = torch.tensor(gamma).double() ** (frame[:, None] - frame[None, :]).abs()
    assert_close(noise @ noise.T / noise.shape[1], expected, rtol=0, atol=5 * math.sqrt(2 / noise.shape[1]))
    assert all(stats.kstest(values.numpy(), "norm").pvalue > 1e-4 for values in noise)
    quarters = noise[0].reshape(4, -1)  # made of the same counters
    correlation = torch.corrcoef(quarters) - torch.eye(4)
    assert correlation.abs().max() < 5 / math.sqrt(quarters.shape[1])


@pytest.mark.parametrize("size", [(1,), (7,), (4, 5, 3)])
def test_counter_noise_may_be_drawn_from_any_frame_on(size):
    whole = counter_noise((6, *size), 0.4, 3)
    rest = counter_noise((4, *size), 0.4, 3, first_frame=2, previous=whole[1])
    assert torch.equal(torch.cat([whole[:2], rest]), whole)
    assert not torch.equal(counter_noise((6, *size), 0.4, 3 + 2**32), whole)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"gamma": 1.5}, "gamma must lie in"),
        ({"seed": -1}, "seed must lie in"),
        ({"seed": 2**64}, "seed must lie in"),
        ({"first_frame": 2**31 - 1}, "frames are numbered"),
        ({"previous": torch.zeros(3)}, "previous must be one frame"),
    ],
)
def test_counter_noise_refuses_what_it_has_no_numbers_for(changes, complaint):
    with pytest.raises(ValueError, match=complaint):
        counter_noise(**{"shape": (2, 4), "gamma": 0.1, "seed": 0, **changes})


def test_frames_too_far_apart_for_the_kernel_s_counting_are_pytorch_s(monkeypatch):
    """As parts of a fused projection two pictures of 2048x2048 are near enough, 32 of 2304x2304 are not."""
    monkeypatch.setattr(attention, "_launch", lambda *_: ("launched", None))

    def attend(frames, side):
        q, k, v = torch.empty(frames, (side // 8) ** 2, 3 * 320, device="meta").chunk(3, dim=-1)
        return temporal_attention(q, k, v, frames, 8, backend="triton")

    assert attend(2, 2048) == "launched"
    with pytest.raises(ValueError, match="no Triton kernel"):
        attend(32, 2304)


def attempt(launch, *, suits=True, backend="auto", tensor=None):
    tensor = torch.zeros(1) if tensor is None else tensor
    return choice.try_kernel(launch, "a kernel", suits, backend, (8, 0), lambda: torch.ones(1), tensor)


@pytest.fixture
def gpu(monkeypatch):
    """All tensors count as on a GPU with Triton."""
    monkeypatch.setattr(choice, "_is_for", lambda *_: True)
    monkeypatch.setattr(choice, "_left_to_torch", set())
    monkeypatch.setattr(choice, "_checked", set())


class Launch:
    def __init__(self, spills=0, error=None, result=1.0):
        self.count, self.spills, self.error, self.result = 0, spills, error, result

    def __call__(self):
        self.count += 1
        if self.error:
            raise self.error
        return torch.full((1,), self.result), SimpleNamespace(n_spills=self.spills)


def test_a_kernel_runs_where_it_can(gpu):
    launch = Launch()
    assert attempt(launch) is not None
    assert attempt(launch) is not None
    assert launch.count == 2


def test_the_cpu_is_pytorch_s():
    launch = Launch()
    assert attempt(launch) is None
    assert launch.count == 0


@pytest.mark.usefixtures("gpu")
def test_a_kernel_that_spills_runs_once():
    launch = Launch(spills=8, result=1.0001)
    assert attempt(launch) == torch.ones(1)  # PyTorch's, as every later one
    assert attempt(launch) is None
    assert launch.count == 1


@pytest.mark.usefixtures("gpu")
def test_a_kernel_that_fails_is_tried_once_and_told_of(caplog):
    launch = Launch(error=RuntimeError("no C compiler"))
    assert attempt(launch) == torch.ones(1)  # PyTorch's, which it was to be compared with
    assert attempt(launch) is None
    assert launch.count == 1
    assert "no C compiler" in caplog.text


@pytest.mark.parametrize("result", [0.9, math.nan])
@pytest.mark.usefixtures("gpu")
def test_a_kernel_whose_first_result_is_another_is_left_to_pytorch_and_told_of(caplog, result):
    launch = Launch(result=result)
    assert attempt(launch) == torch.ones(1)
    assert attempt(launch) is None
    assert launch.count == 1
    assert "result is another" in caplog.text


@pytest.mark.usefixtures("gpu")
def test_no_memory_is_the_caller_s_concern():
    with pytest.raises(torch.OutOfMemoryError):
        attempt(Launch(error=torch.OutOfMemoryError("full")))


@pytest.mark.usefixtures("gpu")
def test_gradients_and_odd_arguments_are_pytorch_s():
    weight = torch.zeros(1, requires_grad=True)
    assert attempt(Launch(), tensor=weight) is None
    assert attempt(Launch(), suits=False) is None
    with torch.no_grad():
        assert attempt(Launch(), tensor=weight) is not None
    with pytest.raises(ValueError, match="no Triton kernel for"):
        attempt(Launch(), tensor=weight, backend="triton")


@pytest.mark.usefixtures("gpu")
def test_either_way_can_be_asked_for(monkeypatch):
    assert attempt(Launch(), backend="torch") is None
    assert attempt(Launch(spills=8), backend="triton") is not None
    monkeypatch.setenv("VCD_KERNELS", "torch")
    assert attempt(Launch()) is None
    monkeypatch.setenv("VCD_KERNELS", "cuda")
    with pytest.raises(ValueError, match="one of auto, torch, triton, got 'cuda'"):
        attempt(Launch())


@needs_triton
def test_interpreted_kernels_agree_with_pytorch():
    """Triton's interpreter has to be chosen before Triton is imported, so this is another process."""
    command = [sys.executable, "-m", "pytest", str(INTERPRETED), "-q", "-n0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert finished.returncode == 0, finished.stdout + finished.stderr


@needs_triton
@pytest.mark.parametrize("target", ATTENTION_TARGETS)
@pytest.mark.parametrize(("dtype", "width", "frames"), ATTENTION_VARIANTS)
def test_attention_spills_nothing_and_uses_tensor_cores(dtype, width, frames, target):
    found = attention_resources(dtype, width, frames, target)
    assert found.spilled == 0
    assert not {"STL", "LDL"} & opcodes(found.sass)  # stores to and loads from what spills
    assert "HMMA" in opcodes(found.sass)
    assert "LDG.E.128" in found.sass  # a head's features come 16 bytes at a time


@needs_triton
@pytest.mark.parametrize("target", NOISE_TARGETS)
@pytest.mark.parametrize(("name", "dtype"), NOISE_VARIANTS)
def test_noise_spills_nothing_and_rounds_once_where_pytorch_does(name, dtype, target):
    found = noise_resources(name, dtype, target)
    assert found.spilled == 0
    assert found.shared == 0
    if name == "AR(1) scan":
        # add_(alpha=…) is one fused operation after a product that was rounded by itself.
        assert found.ptx.count("fma.rn.f32") == found.ptx.count("mul.f32") == 1


def opcodes(sass: str) -> set[str]:
    return {word.partition(".")[0] for word in sass.replace(";", " ").split()}


def test_the_page_of_the_kernels_is_what_the_command_writes():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(section(text))
