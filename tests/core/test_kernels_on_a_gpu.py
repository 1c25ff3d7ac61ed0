"""The kernels where they belong: skipped as a whole, in one line, without a GPU."""

import pytest
import torch
from torch.testing import assert_close

from vcd_core.kernels import ar1_scan, philox_ar1, temporal_attention
from vcd_core.noise import correlate, correlated_noise

if not torch.cuda.is_available():
    pytest.skip("needs a GPU", allow_module_level=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("width", "frames"), [(40, 16), (80, 24), (160, 32), (8, 9)])
def test_attention_on_a_gpu_agrees_with_float64(dtype, width, frames):
    q, k, v = torch.randn(3, 2 * frames, 49, 8 * width, dtype=dtype, device="cuda")
    ours = temporal_attention(q, k, v, frames, 8, backend="triton")
    exact = temporal_attention(q.double(), k.double(), v.double(), frames, 8, backend="torch")
    rounding = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 1e-5}[dtype]
    assert (ours.double() - exact).abs().max() < 4 * rounding


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("gamma", [0.0, 0.05, 0.95, 1.0])
def test_the_scan_on_a_gpu_is_the_loop_to_the_bit(gamma, dtype):
    white = torch.randn(17, 4, 33, 65, device="cuda").to(dtype)
    ours = ar1_scan(white, gamma, backend="triton")
    assert torch.equal(ours, ar1_scan(white, gamma, backend="torch"))
    assert torch.equal(correlate(white, gamma), ours)


def test_correlated_noise_on_a_gpu_is_the_loop_over_its_white_noise():
    generator = torch.Generator("cuda").manual_seed(3)
    drawn = correlated_noise((6, 4, 33, 65), 0.3, generator)
    generator.manual_seed(3)
    white = torch.stack([torch.randn(4, 33, 65, generator=generator, device="cuda") for _ in range(6)])
    assert torch.equal(drawn, ar1_scan(white, 0.3, backend="torch"))


def test_counter_noise_on_a_gpu_is_the_cpu_s():
    ours = philox_ar1((16, 4, 33, 65), 0.1, 2**63 + 7, device="cuda", backend="triton")
    assert_close(ours.cpu(), philox_ar1((16, 4, 33, 65), 0.1, 2**63 + 7), rtol=0, atol=2e-5)
