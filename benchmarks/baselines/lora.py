"""LoRA (arXiv:2106.09685) of the UNet's attention, as peft has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vcd_core.identity import Recipe
from vcd_core.standalone.model import Prompt, StableDiffusion

from .fitting import Fit, called_by_identifier, fit, identifier_contexts
from .method import Lesson, Tensors

ADAPTER = "default"  # peft's name for it, which files do not carry
LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


@dataclass(frozen=True)
class Lora:
    """Low-rank changes of the queries, keys, values and outputs of every attention, without prior preservation.

    Attributes:
        rank: of each change.
    """

    rate: float = 3e-3
    rank: int = 4

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        with self._added(unet, recipe.options.seed):
            return {name: value.detach().clone() for name, value in _state(unet).items()}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        contexts = identifier_contexts(model)

        def predict(noised: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
            return model.predict_noise(noised, timesteps, contexts(prompts))

        with self._added(model.unet, lesson.recipe.options.seed):
            trained = {name: weight for name, weight in model.unet.named_parameters() if weight.requires_grad}
            learned = fit(model, lesson, trained, predict, Fit(self.rate))
        return {name.replace(f".{ADAPTER}.", "."): value for name, value in learned.items()}

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        from peft import set_peft_model_state_dict

        with self._added(model.unet, seed=0):
            own = _state(model.unet)
            if own.keys() != learned.keys() or any(own[name].shape != learned[name].shape for name in own):
                raise ValueError("what was learned does not fit this UNet: learn it anew with this model")
            set_peft_model_state_dict(model.unet, learned)
            yield model, called_by_identifier(model, noun)

    @contextmanager
    def _added(self, unet: nn.Module, seed: int) -> Iterator[None]:
        """The UNet with peft's layers around its own; afterwards they are gone."""
        from peft import LoraConfig

        config = LoraConfig(
            r=self.rank, lora_alpha=self.rank, init_lora_weights="gaussian", target_modules=list(LAYERS)
        )
        try:
            with torch.random.fork_rng(devices=[]):  # peft draws from the global generator
                torch.manual_seed(seed)
                unet.add_adapter(config)
            yield
        finally:
            unet.unload_lora()


def _state(unet: nn.Module) -> Tensors:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(unet)
