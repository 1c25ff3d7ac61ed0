"""What a way to teach a model a subject is asked for: what it trains, and how that is applied."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from vcd_core.identity import Photo, Recipe, around_subject
from vcd_core.sampling import classifier_free_guidance, euler, normal_sigmas, start_latents
from vcd_core.standalone.checkpoint import VAE_FACTOR
from vcd_core.standalone.model import Prompt, StableDiffusion

Tensors = dict[str, Tensor]
IDENTIFIER = "sks"
"""A word that says nothing, for methods that give a word its meaning by what the UNet makes of it."""
AT_ONCE = 8  # pictures of the class


@dataclass(frozen=True)
class Lesson:
    """What a subject is learned from.

    Attributes:
        photos: of the subject; a method that wants no masks takes them `without_mask`.
        recipe: of our own method; the others take its noun, size, steps, batch, and seed.
        class_latents: gives (N, 4, h, w), pictures of anyone of the class, for methods with prior preservation.
    """

    photos: Sequence[Photo]
    recipe: Recipe
    class_latents: Callable[[], Tensor]


class Method(Protocol):
    """A frozen dataclass, whose fields are its settings; with prior preservation one of them is `prior_weight`."""

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        """All that is trained, as it begins, and nothing else; works on the meta device.

        Args:
            unet: diffusers' UNet2DConditionModel.
            noun_vectors: (k, D) what the text encoder has for the noun.
        """

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        """What a file keeps of a subject: tensors of the names and shapes of `start`.

        The model is as it was afterwards, to the bit.

        Raises:
            ValueError: no usable photo, or a training that diverged.
        """

    def applied(
        self, model: StableDiffusion, learned: Tensors, noun: str
    ) -> AbstractContextManager[tuple[StableDiffusion, Prompt]]:
        """Within it: a model that knows the subject, and what to call it in a prompt, beginning with "a".

        `model` may be changed meanwhile; afterwards it is as it was, to the bit.
        """


def without_mask(photo: Photo) -> Photo:
    """The square that others see of it, and nothing that says where in it the subject is."""
    return replace(around_subject(photo), mask=None)


def generator_of(recipe: Recipe) -> torch.Generator:
    return torch.Generator().manual_seed(recipe.options.seed)


@torch.no_grad()
def class_latents(
    model: StableDiffusion, noun: str, size: int, count: int, steps: int = 20, cfg: float = 7.5
) -> Tensor:
    """(count, 4, h, w): pictures that the model itself draws of anyone of the class, the same at every call."""
    contexts = (model.encode_pieces([words]) for words in (f"photo of a {noun}", ""))
    denoise = classifier_free_guidance(*map(model.denoiser, contexts), cfg)
    sigmas = normal_sigmas(model.schedule, steps).to(model.device)
    side = size // VAE_FACTOR
    noise = torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(0)).to(model.device)
    return torch.cat([euler(denoise, start_latents(some, sigmas[0]), sigmas) for some in noise.split(AT_ONCE)])
