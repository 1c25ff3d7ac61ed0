"""Custom Diffusion (arXiv:2212.04488): a new token, and the keys and values that cross-attention makes of words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vcd_core.identity import Recipe, initial_vectors
from vcd_core.standalone.model import Prompt, StableDiffusion

from .changes import predict_with, weights_changed
from .fitting import Fit, as_leaves, fit, noun_of
from .method import Lesson, Tensors, generator_of

TOKEN = "token"
TRAINED = ("attn2.to_k.weight", "attn2.to_v.weight")


@dataclass(frozen=True)
class CustomDiffusion:
    """With prior preservation, by pictures that the model draws itself.

    Otherwise: the token begins near the noun instead of at a rare word, and photos are not shown at other sizes.

    Attributes:
        rate: of the token and the weights alike.
        prior_weight: λ of the loss on these pictures.
    """

    rate: float = 7e-4
    prior_weight: float = 1.0

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        vector = initial_vectors(noun_vectors, 1, generator_of(recipe)).to(noun_vectors)
        weights = {name: weight.detach() for name, weight in unet.named_parameters() if name.endswith(TRAINED)}
        return {TOKEN: vector, **weights}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        trained = as_leaves(self.start(model.unet, noun_of(model, lesson.recipe).cpu(), lesson.recipe))
        weights = {name: value for name, value in trained.items() if name != TOKEN}

        def predict(noised: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
            contexts = {prompt: model.encode_prompt(prompt, trained[TOKEN]) for prompt in set(prompts)}
            context = torch.stack([contexts[prompt] for prompt in prompts])
            return predict_with(model, weights, noised, timesteps, context)

        learned = fit(model, lesson, trained, predict, Fit(self.rate, prior_weight=self.prior_weight))
        own = model.unet.state_dict()
        return {name: value - own[name] if name != TOKEN else value for name, value in learned.items()}

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        with weights_changed(model.unet, {name: change for name, change in learned.items() if name != TOKEN}):
            yield model, ["a ", learned[TOKEN], noun]
