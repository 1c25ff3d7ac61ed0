"""NeTI (arXiv:2305.15391): a token that differs by noise level and by layer of the UNet, given by a small network."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from vcd_core.identity import PLACEHOLDER, Recipe
from vcd_core.sampling.guidance import Denoise
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.tokenizer import word_ids

from .fitting import Fit, as_leaves, fit, noun_of
from .method import Lesson, Tensors, generator_of

FREQUENCIES = 1024  # of timestep and layer, drawn once
SPREAD = (0.03, 2.0)  # of these frequencies, by timestep and by layer
ANCHORS = 10  # timesteps whose codes the first layer begins with, at every layer of the UNet
TIMESTEPS = 1000
DROPOUT = 0.5  # how often a step keeps only the first ones of the hidden numbers
BYPASS = 0.2  # how far the textual bypass may move what the text encoder says, in parts of its length


@dataclass(frozen=True)
class Neti:
    """With positional encoding, textual bypass and nested dropout, as published.

    Otherwise: the token stands before the noun instead of in its place, and begins near the noun instead of anywhere of
    its length, as all tokens here do.

    Attributes:
        hidden: width of the network.
    """

    rate: float = 3e-3
    hidden: int = 128

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator
            torch.manual_seed(recipe.options.seed)
            network = self._mapper(unet, noun_vectors.mean(0))
        return {name: value.detach() for name, value in network.named_parameters()}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        noun = noun_of(model, lesson.recipe).mean(0)
        trained = as_leaves(
            {name: value.to(noun) for name, value in self.start(model.unet, noun[None], lesson.recipe).items()}
        )
        mapper = self._mapper(model.unet, noun)
        layered = LayeredModel(**vars(model), mapper=mapper, weights=trained)
        generator = generator_of(lesson.recipe)

        def predict(noised: Tensor, timesteps: Tensor, prompts: Sequence[str]) -> Tensor:
            contexts = []
            for prompt, timestep in zip(prompts, timesteps, strict=True):
                before, mark, after = prompt.partition(PLACEHOLDER)
                kept = mapper.some_kept(generator)
                contexts.append(layered.contexts([before, noun[None], after] if mark else [prompt], timestep, kept))
            return layered.predict_by_layer(noised, timesteps, torch.stack(contexts))

        return fit(model, lesson, trained, predict, Fit(self.rate))

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        vector = model.embed_words(noun).to(model.device).mean(0)
        weights = {name: value.to(vector) for name, value in learned.items()}
        layered = LayeredModel(**vars(model), mapper=self._mapper(model.unet, vector), weights=weights)
        yield layered, ["a ", vector[None], noun]

    def _mapper(self, unet: nn.Module, noun: Tensor) -> "Mapper":
        return Mapper(noun, len(cross_attentions(unet)), self.hidden)


class Mapper(nn.Module):
    """(timestep, layer) -> two vectors, together as long as the noun's.

    One begins near the noun, for the prompt; the other goes past the text encoder, to the values alone.

    Args:
        noun: (D,) the noun's own vector.
        count: of the UNet's layers.
    """

    def __init__(self, noun: Tensor, count: int, hidden: int) -> None:
        super().__init__()
        frequencies = torch.randn(FREQUENCIES, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(SPREAD)
        self.norm, self.count, self.width = noun.norm(), count, hidden
        self.hidden = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, ANCHORS * count),
            nn.Linear(ANCHORS * count, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(),
            nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.LeakyReLU(),
        ).to(noun)  # fmt: skip
        self.out = nn.Linear(hidden, 2 * len(noun)).to(noun)
        anchors = torch.cartesian_prod(torch.arange(0.0, TIMESTEPS, TIMESTEPS / ANCHORS), torch.arange(float(count)))
        self.frequencies = frequencies.to(noun)
        with torch.no_grad():
            self.hidden[0].weight.copy_(self.encoded(anchors.to(noun)))
            self.out.weight.mul_(self.norm / math.sqrt(len(noun)))
            self.out.bias[: len(noun)] = noun

    def encoded(self, places: Tensor) -> Tensor:
        """(n, 2) timesteps and layers -> (n, 2048), each of length 1."""
        angles = places @ self.frequencies.T
        return F.normalize(torch.cat([angles.sin(), angles.cos()], 1))

    def some_kept(self, generator: torch.Generator) -> Tensor:
        """(layers,) how many hidden numbers, the first ones, a step of training is left with: nested dropout."""
        kept = torch.randint(self.width, (self.count,), generator=generator)
        return torch.where(torch.rand(self.count, generator=generator) < DROPOUT, kept, self.width)

    def forward(self, timestep: Tensor, kept: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(layers, D) twice, for one timestep."""
        layers = torch.arange(self.count, device=self.frequencies.device).to(self.frequencies)
        hidden = self.hidden(self.encoded(torch.stack([timestep.to(layers).expand(self.count), layers], 1)))
        if kept is not None:
            hidden = hidden * (torch.arange(self.width) < kept[:, None]).to(hidden)
        return (self.norm * F.normalize(self.out(hidden))).chunk(2, 1)


@dataclass(frozen=True)
class TimedPrompt:
    """A prompt that can be encoded only once the noise level is known; learned vectors in it mark the subject."""

    pieces: Prompt


@dataclass(frozen=True)
class LayeredModel(StableDiffusion):
    """A model in which every cross-attention has a prompt of its own, at every noise level."""

    mapper: Mapper
    weights: Tensors

    def encode_pieces(self, prompt: Prompt) -> Tensor | TimedPrompt:
        if all(isinstance(piece, str) for piece in prompt):
            return super().encode_pieces(prompt)
        super().encode_pieces(prompt)  # says whether it is too long
        return TimedPrompt(prompt)

    def denoiser(self, context: Tensor | TimedPrompt) -> Denoise:
        if isinstance(context, Tensor):
            return super().denoiser(context)

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            timestep = self.schedule.timestep(sigma).to(x.device)
            contexts = self.contexts(context.pieces, timestep).expand(len(x), -1, -1, -1, -1)
            noise = self.predict_by_layer(x / (1 + sigma**2).sqrt(), timestep.expand(len(x)), contexts)
            return x - sigma * noise

        return denoise

    def contexts(self, prompt: Prompt, timestep: Tensor, kept: Tensor | None = None) -> Tensor:
        """(layers, 2, L, D) of a prompt at one timestep: what keys are made of, and what values are."""
        if all(isinstance(piece, str) for piece in prompt):
            return super().encode_pieces(prompt).expand(self.mapper.count, 2, -1, -1)
        vectors, bypasses = functional_call(self.mapper, self.weights, (timestep, kept))
        return torch.stack([self._with_bypass(prompt, *both) for both in zip(vectors, bypasses, strict=True)])

    def _with_bypass(self, prompt: Prompt, vector: Tensor, bypass: Tensor) -> Tensor:
        """(2, L, D)

            h' = h + 0.2 |h| b / |b|

        of what the text encoder has at the subject's place before its last norm, for values.
        """
        subject = next(number for number, piece in enumerate(prompt) if not isinstance(piece, str))
        place = 1 + sum(len(word_ids(words, self.tokenizer)) for words in prompt[:subject])
        words = [*prompt[:subject], vector[None], *prompt[subject + 1 :]]
        found: list[Tensor] = []
        norm = self.text_encoder.text_model.final_layer_norm
        hook = norm.register_forward_pre_hook(lambda _norm, inputs: found.append(inputs[0][0]))
        try:
            keys = super().encode_pieces(words)
        finally:
            hook.remove()
        (before,) = found
        moved = before[place] + BYPASS * before[place].norm() * F.normalize(bypass, dim=0)
        return torch.stack([keys, norm(before.index_copy(0, torch.tensor([place]).to(before.device), moved[None]))])

    def predict_by_layer(self, noised: Tensor, timesteps: Tensor, contexts: Tensor) -> Tensor:
        """ε, given (B, layers, 2, L, D)."""
        hooks = []
        for layer, context in zip(cross_attentions(self.unet), contexts.to(self.unet.dtype).unbind(1), strict=True):
            hooks += put_in(layer, *context.unbind(1))
        try:
            return self.predict_noise(noised, timesteps, contexts[:, 0, 0])
        finally:
            for hook in hooks:
                hook.remove()


def put_in(attention: nn.Module, keys: Tensor, values: Tensor) -> list[RemovableHandle]:
    """Hooks by which diffusers' cross-attention makes its keys and values of these (B, L, D), whatever it is given."""
    return [
        attention.register_forward_pre_hook(
            lambda _layer, inputs, named: (inputs, named | {"encoder_hidden_states": keys}), with_kwargs=True
        ),
        attention.to_v.register_forward_pre_hook(lambda _layer, _inputs: (values,)),
    ]


def cross_attentions(unet: nn.Module) -> list[nn.Module]:
    """In the order in which they are run: down, middle, up."""
    blocks = (*unet.down_blocks, unet.mid_block, *unet.up_blocks)
    return [layer for block in blocks for name, layer in block.named_modules() if name.endswith("attn2")]
