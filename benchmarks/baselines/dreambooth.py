"""DreamBooth (arXiv:2208.12242): the whole UNet learns what a word that said nothing means."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn

from vcd_core.identity import Recipe
from vcd_core.standalone.model import Prompt, StableDiffusion

from .changes import predict_with, weights_changed
from .fitting import Fit, as_leaves, called_by_identifier, fit, identifier_contexts, noun_of
from .method import Lesson, Tensors


@dataclass(frozen=True)
class DreamBooth:
    """With prior preservation, by pictures that the model draws itself. Kept is what the training added.

    Attributes:
        prior_weight: λ of the loss on these pictures.
    """

    rate: float = 4e-4
    prior_weight: float = 1.0

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        return {name: weight.detach() for name, weight in unet.named_parameters()}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        trained = as_leaves(self.start(model.unet, noun_of(model, lesson.recipe), lesson.recipe))
        contexts = identifier_contexts(model)

        def predict(noised: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
            return predict_with(model, trained, noised, timesteps, contexts(prompts))

        learned = fit(model, lesson, trained, predict, Fit(self.rate, prior_weight=self.prior_weight))
        own = dict(model.unet.named_parameters())
        return {name: value - own[name].detach() for name, value in learned.items()}

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        with weights_changed(model.unet, learned):
            yield model, called_by_identifier(model, noun)
