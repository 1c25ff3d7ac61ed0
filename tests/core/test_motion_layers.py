"""The CPU's fused layers say what PyTorch's operators say, and stand back where these have more to do."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from benchmarks.harness import peak_live_bytes
from vcd_core.motion.layers import Linear, geglu, linear_plus

WIDTH, TOKENS = 24, 10
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


class Plain(torch.nn.Linear):
    """A layer of another class: only its own forward is known to be right."""


@pytest.fixture
def tokens(rng):
    return torch.randn(2, TOKENS, WIDTH, generator=rng)


def layers(rng, outwards, bias):
    """The same weights, in the class that fuses and in one that does not."""
    ours, plain = Linear(WIDTH, outwards, bias=bias), Plain(WIDTH, outwards, bias=bias)
    for parameter in ours.parameters():
        parameter.data = torch.randn(parameter.shape, generator=rng) * WIDTH**-0.5
    plain.load_state_dict(ours.state_dict())
    return ours.requires_grad_(False), plain.requires_grad_(False)


WAYS = {
    "alone": (lambda layer, x, residual: layer(x), WIDTH),
    "plus": (linear_plus, WIDTH),
    "geglu": (lambda layer, x, residual: geglu(layer, x), 2 * WIDTH),
}


@pytest.mark.parametrize(("way", "bias"), [("alone", True), ("alone", False), ("plus", True), ("geglu", True)])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "autocast", "autocast of float32"])
def test_it_is_what_pytorch_makes(rng, tokens, way, precision, bias):
    run, outwards = WAYS[way]
    ours, plain = layers(rng, outwards, bias)
    residual = torch.randn(tokens.shape, generator=rng)
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    expected = run(plain, tokens, residual)
    if precision == "bfloat16":
        ours = ours.to(dtype)
    if precision != "autocast of float32":
        tokens, residual = tokens.to(dtype), residual.to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision.startswith("autocast")):
        found = run(ours, tokens, residual)
    assert found.dtype in (dtype, residual.dtype)
    assert_close(found.float(), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_pytorch_s(rng, tokens, way):
    run, outwards = WAYS[way]
    gradients = []
    for layer in layers(rng, outwards, bias=True):
        x = tokens.clone().requires_grad_()
        run(layer.requires_grad_(), x, x).square().sum().backward()
        gradients.append([x.grad, layer.weight.grad, layer.bias.grad])
    assert_close(*gradients)


@pytest.mark.parametrize("way", WAYS)
def test_a_layer_that_does_more_when_it_is_called_is_called(rng, tokens, way):
    class Patched(Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    run, outwards = WAYS[way]
    ours, _ = layers(rng, outwards, bias=True)
    patched = Patched(WIDTH, outwards).requires_grad_(False)
    patched.load_state_dict(ours.state_dict())
    made = 2 * ours(tokens)
    if way == "plus":
        made = made + tokens
    if way == "geglu":
        made = F.gelu(made[..., WIDTH:]) * made[..., :WIDTH]
    assert_close(run(patched, tokens, tokens), made)


@pytest.mark.parametrize("way", WAYS)
def test_one_pass_takes_less_memory(rng, tokens, way):
    """Only what comes out is new, and for GEGLU the gate: where PyTorch's ways would be taken, this fails."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("PyTorch without oneDNN")
    run, outwards = WAYS[way]
    ours, _ = layers(rng, outwards, bias=True)
    made = 2 if way == "geglu" else 1
    assert peak_live_bytes(lambda: run(ours, tokens, tokens)) == made * tokens.numel() * tokens.element_size()
