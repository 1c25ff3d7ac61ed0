"""The kernels say what PyTorch says, whatever the shapes, strides and dtypes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vcd_core.kernels import ar1_scan, philox_ar1, temporal_attention
from vcd_core.noise import correlated_noise

halves_and_float = st.sampled_from([torch.float16, torch.bfloat16, torch.float32])
gammas = st.sampled_from([0.0, 0.05, 0.15, 0.5, 0.95, 1.0])
# Rounded once on the way in, once as weights and once on the way out; |values| < 5.
ROUNDING = {torch.float16: 2**-11, torch.bfloat16: 2**-8, torch.float32: 1e-6}
LAYOUTS = ["plain", "fused projection", "positions first", "features first", "part of more", "each its own"]


def random(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def laid_out(values, layout):
    """The same values in another order in memory."""
    if layout == "each its own":
        return [laid_out(values, one)[i] for i, one in enumerate(("plain", "positions first", "part of more"))]
    images, positions, features = values[0].shape
    if layout == "fused projection":
        return torch.cat(list(values), dim=-1).chunk(3, dim=-1)
    if layout == "positions first":
        return [x.transpose(0, 1).contiguous().transpose(0, 1) for x in values]
    if layout == "features first":
        return [x.permute(2, 0, 1).contiguous().permute(1, 2, 0) for x in values]
    if layout == "part of more":
        padded = [torch.full((images, positions + 1, features + 3), float("nan"), dtype=x.dtype) for x in values]
        for room, x in zip(padded, values, strict=True):
            room[:, 1:, 2:-1] = x
        return [room[:, 1:, 2:-1] for room in padded]
    return [x.contiguous() for x in values]


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    dtype=halves_and_float,
    width=st.sampled_from([1, 8, 16, 24, 40, 80, 160]),
    frames=st.integers(1, 32),
    clips=st.integers(1, 2),
    positions=st.integers(1, 2),
    heads=st.integers(1, 2),
    layout=st.sampled_from(LAYOUTS),
    masked=st.sampled_from(["no", "a row", "each clip"]),
    seed=st.integers(0, 2**16),
)
def test_attention(dtype, width, frames, clips, positions, heads, layout, masked, seed):
    values = random((3, clips * frames, positions, heads * width), seed).to(dtype)
    visible = None
    if masked != "no":
        visible = random((clips, frames) if masked == "each clip" else (frames,), seed + 1) > 0
    ours = temporal_attention(*laid_out(values, layout), frames, heads, visible=visible, backend="triton")
    exact = temporal_attention(*values.double(), frames, heads, visible=visible, backend="torch")
    assert ours.dtype == dtype
    assert ours.shape == exact.shape
    assert_close(ours.double(), exact, rtol=4 * ROUNDING[dtype], atol=8 * ROUNDING[dtype])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_attention_does_not_depend_on_where_its_values_lie(layout):
    values = random((3, 2 * 5, 2, 2 * 8), 0)
    plain = temporal_attention(*values, 5, 2, backend="triton")
    assert torch.equal(temporal_attention(*laid_out(values, layout), 5, 2, backend="triton"), plain)


def test_attention_of_the_positions_first_is_the_same():
    """Tokens in the order (position, frame), as a motion module has them, are clips of one position each."""
    q, k, v = random((3, 2 * 9, 5, 32), 0)
    by_image = temporal_attention(q, k, v, 9, 4, backend="triton")
    turned = [x.reshape(2, 9, 5, 32).transpose(1, 2).reshape(-1, 1, 32) for x in (q, k, v)]
    by_position = temporal_attention(*turned, 9, 4, backend="triton")
    assert torch.equal(by_position.reshape(2, 5, 9, 32).transpose(1, 2).reshape(18, 5, 32), by_image)


@pytest.mark.parametrize("frames", [33, 64])
def test_attention_over_more_frames_is_not_the_kernel_s(frames):
    x = torch.zeros(frames, 1, 8)
    with pytest.raises(ValueError, match="no Triton kernel"):
        temporal_attention(x, x, x, frames, 1, backend="triton")
    assert temporal_attention(x, x, x, frames, 1).shape == x.shape


def one_ulp(values):
    return torch.nextafter(values.abs(), torch.full_like(values, torch.inf)) - values.abs()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    dtype=halves_and_float,
    frames=st.integers(1, 9),
    size=st.sampled_from([(1,), (5,), (128,), (129,), (4, 7, 11)]),
    gamma=gammas,
    continues=st.booleans(),
    in_place=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_every_step_of_the_scan_is_within_an_ulp_of_the_loop_s(dtype, frames, size, gamma, continues, in_place, seed):
    """The interpreter rounds the product within a fused operation, as a GPU does not: so an ulp, and step by step."""
    white = random((frames, *size), seed).to(dtype)
    previous = random(size, seed + 1).to(dtype) if continues else None
    before = white.clone()
    noise = ar1_scan(white, gamma, previous, in_place=in_place, backend="triton")
    assert (noise.data_ptr() == white.data_ptr()) is in_place
    assert in_place or torch.equal(white, before)
    for frame in range(frames):
        if frame > 0 or continues:
            last = noise[frame - 1] if frame > 0 else previous
            step = ar1_scan(before[frame : frame + 1], gamma, last, backend="torch")[0]
        else:
            step = before[0]
        # An ulp of the larger summand where the two nearly cancel.
        largest = torch.maximum(step.abs(), torch.maximum(before[frame].abs(), noise[frame - 1].abs() * (frame > 0)))
        if continues:
            largest = torch.maximum(largest, previous.abs())
        ulps = 2 if dtype == torch.bfloat16 else 1  # both roundings are cut off by the interpreter
        assert ((noise[frame].double() - step.double()).abs() <= ulps * one_ulp(largest).double()).all()


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_scan_is_exact_where_nothing_is_rounded(gamma):
    white = random((5, 4, 3, 7), 0)
    assert torch.equal(ar1_scan(white, gamma, backend="triton"), ar1_scan(white, gamma, backend="torch"))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(
    frames=st.integers(1, 5),
    size=st.sampled_from([(1,), (3,), (4,), (5,), (513,), (4, 7, 19)]),
    gamma=gammas,
    first_frame=st.sampled_from([0, 1, 31, 2**31 - 6]),
    continues=st.booleans(),
    seed=st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]),
)
def test_counter_noise(frames, size, gamma, first_frame, continues, seed):
    previous = random(size, 1) if continues else None
    arguments = dict(first_frame=first_frame, previous=previous)
    ours = philox_ar1((frames, *size), gamma, seed, **arguments, backend="triton")
    theirs = philox_ar1((frames, *size), gamma, seed, **arguments, backend="torch")
    # Normals are below 6.7, and float32's angle of up to 2π turns by 2⁻²² at most: 5 such steps of a chain.
    assert_close(ours, theirs, rtol=0, atol=5 * 6.7 * 2**-22)


def test_the_noise_of_a_clip_keeps_its_meaning():
    """What a user's seed gives on the CPU, from the same white noise by the kernel."""
    generator = torch.Generator().manual_seed(7)
    white = torch.randn(16, 4, 8, 8, generator=generator)
    expected = correlated_noise((16, 4, 8, 8), 0.15, generator.manual_seed(7))
    assert_close(ar1_scan(white, 0.15, backend="triton"), expected, rtol=0, atol=2**-22)
