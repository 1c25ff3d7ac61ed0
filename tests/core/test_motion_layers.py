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


def test_a_residual_alone_may_want_a_gradient(rng, tokens):
    ours, _ = layers(rng, WIDTH, bias=True)
    residual = tokens.clone().requires_grad_()
    linear_plus(ours, tokens, residual).sum().backward()
    assert_close(residual.grad, torch.ones_like(residual))


def with_a_hook(layer):
    layer.register_forward_hook(lambda _layer, _inputs, made: 2 * made)


def with_a_hook_before(layer):
    layer.register_forward_pre_hook(lambda _layer, inputs: tuple(2 * x for x in inputs))


def with_its_own_forward(layer):
    """As LoRA loaders that patch single layers do."""
    before = layer.forward
    layer.forward = lambda x: 2 * before(x)


@pytest.mark.parametrize("change", [with_a_hook, with_a_hook_before, with_its_own_forward])
@pytest.mark.parametrize("way", WAYS)
def test_what_was_added_to_a_layer_counts(rng, tokens, way, change):
    run, outwards = WAYS[way]
    made = []
    for layer in layers(rng, outwards, bias=True):
        change(layer)
        made.append(run(layer, tokens, tokens))
    assert_close(*made)


@pytest.mark.parametrize("way", WAYS)
def test_weights_that_multiply_in_their_own_way_do(rng, tokens, way):
    """As quantised weights do, whose class stands between a layer and its numbers."""

    class Halved(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            made = super().__torch_function__(function, types, args, kwargs or {})
            return 2 * made.as_subclass(torch.Tensor) if function is F.linear else made

    run, outwards = WAYS[way]
    made = []
    for layer in layers(rng, outwards, bias=True):
        layer.weight = torch.nn.Parameter(layer.weight.detach().as_subclass(Halved), requires_grad=False)
        made.append(run(layer, tokens, tokens))
    assert_close(*made)


def test_double_precision_stays_under_autocast(rng, tokens):
    ours, plain = (layer.double() for layer in layers(rng, WIDTH, bias=True))
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(ours(tokens.double()), plain(tokens.double()))


@pytest.mark.parametrize("way", WAYS)
def test_onednn_can_be_switched_off(rng, tokens, way):
    run, outwards = WAYS[way]
    ours, plain = layers(rng, outwards, bias=True)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(run(ours, tokens, tokens), run(plain, tokens, tokens))


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
    """Only what comes out is new, and for GEGLU the gate: PyTorch's ways make more of a sum and of GEGLU."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("PyTorch without oneDNN")
    run, outwards = WAYS[way]
    ours, _ = layers(rng, outwards, bias=True)
    made = 2 if way == "geglu" else 1
    assert peak_live_bytes(lambda: run(ours, tokens, tokens)) == made * tokens.numel() * tokens.element_size()
