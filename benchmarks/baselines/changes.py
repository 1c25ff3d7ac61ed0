"""Weights of a network that are other ones for a while; the network's own tensors are never written to."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.func import functional_call

from vcd_core.standalone.model import StableDiffusion


@contextmanager
def weights_changed(module: nn.Module, changes: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it each named parameter is its own value plus the change; afterwards its own again, to the bit.

    Raises:
        ValueError: a change is of no parameter of the module, or of another shape.
    """
    parameters = dict(module.named_parameters())
    for name, change in changes.items():
        if name not in parameters or parameters[name].shape != change.shape:
            raise ValueError(f"what was learned does not fit this UNet: {name}; learn it anew with this model")
    own = {name: parameters[name].data for name in changes}
    try:
        for name, change in changes.items():
            parameters[name].data = own[name] + change.to(own[name])
        yield
    finally:
        for name, value in own.items():
            parameters[name].data = value


def predict_with(
    model: StableDiffusion, weights: Mapping[str, Tensor], noised: Tensor, timesteps: Tensor, context: Tensor
) -> Tensor:
    """`model.predict_noise` with these weights of the UNet instead of its own; differentiable in them."""
    dtype = model.unet.dtype
    arguments = {"encoder_hidden_states": context.to(dtype)}
    return functional_call(model.unet, dict(weights), (noised.to(dtype), timesteps), arguments).sample.float()
