"""SVDiff (arXiv:2303.11305): of every weight only its singular values may change."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vcd_core.identity import Recipe
from vcd_core.standalone.model import Prompt, StableDiffusion

from .changes import predict_with, weights_changed
from .fitting import Fit, as_leaves, called_by_identifier, fit, identifier_contexts, noun_of
from .method import Lesson, Tensors

Factors = tuple[Tensor, Tensor, Tensor]
_FACTORS: WeakKeyDictionary[nn.Module, dict[str, Factors]] = WeakKeyDictionary()


@dataclass(frozen=True)
class SVDiff:
    """Shifts δ of the singular values of every convolution and linear layer of the UNet, with prior preservation.

        W' = U relu(S + δ) Vᵀ,    W = U S Vᵀ

    a convolution's weight taken as a matrix of its output channels by all else. Computed as W plus what δ changes, so
    that δ = 0 is the UNet itself.

    Attributes:
        prior_weight: λ of the loss on pictures of the class.
    """

    rate: float = 4e-2
    prior_weight: float = 1.0

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        return {name: weight.new_zeros(min(weight.flatten(1).shape)) for name, weight in matrices(unet).items()}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        shifts = as_leaves(self.start(model.unet, noun_of(model, lesson.recipe), lesson.recipe))
        contexts, own = identifier_contexts(model), matrices(model.unet)

        def predict(noised: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
            weights = {name: own[name] + change for name, change in changes(model.unet, shifts).items()}
            return predict_with(model, weights, noised, timesteps, contexts(prompts))

        return fit(model, lesson, shifts, predict, Fit(self.rate, prior_weight=self.prior_weight))

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        with torch.no_grad():
            found = changes(model.unet, learned)
        with weights_changed(model.unet, found):
            yield model, called_by_identifier(model, noun)


def matrices(unet: nn.Module) -> Tensors:
    """The weights that have singular values, by their names in the UNet."""
    return {
        f"{name}.weight": layer.weight.detach()
        for name, layer in unet.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear))
    }


def changes(unet: nn.Module, shifts: Mapping[str, Tensor]) -> Tensors:
    """What shifts add to the weights, each of its weight's shape; differentiable in them.

    Raises:
        ValueError: they are of another UNet.
    """
    factors, own = singular_factors(unet), matrices(unet)
    if shifts.keys() != own.keys() or any(len(shift) != len(factors[name][1]) for name, shift in shifts.items()):
        raise ValueError("what was learned does not fit this UNet: learn it anew with this model")
    return {name: change(factors[name], shift.to(own[name])).view_as(own[name]) for name, shift in shifts.items()}


def change(factors: Factors, shift: Tensor) -> Tensor:
    """U (relu(S + δ) − S) Vᵀ"""
    u, s, vh = factors
    return (u * (F.relu(s + shift) - s)) @ vh


def singular_factors(unet: nn.Module) -> dict[str, Factors]:
    """U, S, Vᵀ of every weight; found once for each UNet, whose own weights must stay as they are."""
    if unet not in _FACTORS:
        found = {
            name: torch.linalg.svd(weight.flatten(1), full_matrices=False) for name, weight in matrices(unet).items()
        }
        _FACTORS[unet] = {name: tuple(factors) for name, factors in found.items()}
    return _FACTORS[unet]
