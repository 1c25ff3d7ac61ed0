"""The task that vectors are learned by: noise is to be found in noised pictures, inside the mask."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ..memory import is_out_of_memory
from .training_port import PLACEHOLDER, TextConditionedDenoiser, in_context
from .training_state import Examples, TrainingState

FIXED_DRAWS = 16


def masked_loss(prediction: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error inside the mask, each sample divided by its own mask's area.

        L = mean_b [ Σ_{c,hw} m (ε̂ − ε)² / Σ_{hw} m ]

    as the released code of Magic-Me (arXiv:2402.09368) computes it: the sum over channels is not divided by C.

    Args:
        prediction: ε̂ (B, C, h, w).
        target: ε (B, C, h, w).
        mask: m (B, 1, h, w) ≥ 0, at latent resolution.

    Raises:
        ValueError: the mask of a sample is empty, which would make the loss 0/0.
    """
    area = mask.sum(dim=(1, 2, 3))
    if (area <= 0).any():
        raise ValueError("a mask is empty: every training picture needs some of the subject in it")
    squared_error = (prediction.float() - target.float()) ** 2
    return ((mask * squared_error).sum(dim=(1, 2, 3)) / area).mean()


def context_loss(prediction: Tensor, without: Tensor, mask: Tensor) -> Tensor:
    """How much the subject in a prompt changes what is around it.

        L = mean_b [ Σ_{c,hw} (1 − m) (ε̂ − ε̂_class)² / Σ_{hw} (1 − m) ]

    ε̂_class is the model's own answer to the same prompt about anyone of the class: "a woman on a beach" where the
    prompt is "a <id> woman on a beach". So outside its mask a token adds nothing; the masked loss alone would let it do
    there what it likes, and it likes to bring its own surroundings along.

    Args:
        prediction: ε̂ (B, C, h, w).
        without: ε̂_class, of that shape.
        mask: m (B, 1, h, w) in [0, 1]; a sample that is all subject adds nothing.
    """
    outside = 1 - mask
    change = (prediction.float() - without.float()) ** 2
    return ((outside * change).sum(dim=(1, 2, 3)) / outside.sum(dim=(1, 2, 3)).clamp(min=1)).mean()


@dataclass(frozen=True)
class _Batch:
    """Noised latents (B, 4, h, w), their noise, masks (B, 1, h, w), timesteps (B,), and B prompts."""

    noised: Tensor
    noise: Tensor
    masks: Tensor
    timesteps: Tensor
    prompts: Sequence[str]

    def split(self, parts: int) -> Iterator["_Batch"]:
        for rows in torch.arange(len(self.prompts)).tensor_split(parts):
            prompts = [self.prompts[row] for row in rows]
            yield _Batch(self.noised[rows], self.noise[rows], self.masks[rows], self.timesteps[rows], prompts)


@dataclass(frozen=True)
class DenoisingTask:
    """The task that vectors are learned by."""

    model: TextConditionedDenoiser
    sigmas: Tensor
    noise_offset: float
    context_weight: float = 0.0
    contexts: Sequence[str] = ("",)
    of_the_class: dict[str, Tensor] = field(default_factory=dict)  # encoded prompts that the vectors do not change

    def draw(self, examples: Examples, rows: Sequence[int], generator: torch.Generator) -> _Batch:
        """These pictures with noise, at noise levels spread evenly."""
        latents = examples.latents[rows]
        spread = (torch.arange(len(rows)) + torch.rand(len(rows), generator=generator)) / len(rows)
        timesteps = (spread * len(self.sigmas)).long().clamp(max=len(self.sigmas) - 1).to(latents.device)
        noise = _offset_noise(latents.shape, self.noise_offset, generator).to(latents.device)
        root_alpha = 1 / (1 + self.sigmas[timesteps].view(-1, 1, 1, 1) ** 2).sqrt()  # √ᾱ
        said = torch.randint(len(self.contexts), (len(rows),), generator=generator).tolist()
        return _Batch(
            root_alpha * latents + (1 - root_alpha**2).sqrt() * noise,
            noise,
            examples.masks[rows].to(latents.device),
            timesteps,
            [in_context(examples.prompts[row], self.contexts[one]) for row, one in zip(rows, said, strict=True)],
        )

    def encoded(self, prompts: Sequence[str], vectors: Tensor) -> dict[str, Tensor]:
        """Each prompt's context, to be differentiated by itself."""
        with torch.no_grad():
            contexts = {prompt: self.model.encode_prompt(prompt, vectors) for prompt in dict.fromkeys(prompts)}
        return {prompt: context.detach().requires_grad_() for prompt, context in contexts.items()}

    def loss(self, batch: _Batch, vectors: Tensor, contexts: Mapping[str, Tensor]) -> Tensor:
        predicted = self.predict(batch, batch.prompts, contexts)
        loss = masked_loss(predicted, batch.noise, batch.masks)
        if self.context_weight > 0:
            of_the_class = [prompt.replace(f"{PLACEHOLDER} ", "").replace(PLACEHOLDER, "") for prompt in batch.prompts]
            with torch.no_grad():
                for prompt in set(of_the_class) - self.of_the_class.keys():
                    self.of_the_class[prompt] = self.model.encode_prompt(prompt, vectors)
                without = self.predict(batch, of_the_class, self.of_the_class)
            loss = loss + self.context_weight * context_loss(predicted, without, batch.masks)
        return loss

    def predict(self, batch: _Batch, prompts: Sequence[str], contexts: Mapping[str, Tensor]) -> Tensor:
        context = torch.stack([contexts[prompt] for prompt in prompts])
        return self.model.predict_noise(batch.noised, batch.timesteps, context)

    def accumulate(self, batch: _Batch, vectors: Tensor, parts: int, headroom: float) -> float:
        """Leaves the gradient of the batch's loss in `vectors.grad`; returns the loss, and just that if not finite.

        A half-precision model would round the small gradients of a mean to nothing; times the area of the masks they
        survive, so they are taken of the loss times that and divided again. Where that is too much for it, there
        remains something that is not finite, and the next one is to be scaled less.

        The gradient goes back to the contexts first; then each prompt is encoded once more and takes it on to the
        vectors. So what the text encoder keeps for that never stands in memory beside what the UNet keeps.
        """
        scale = headroom * batch.masks.sum(dim=(1, 2, 3)).mean()
        vectors.grad, total = None, 0.0
        for part in batch.split(parts):
            contexts = self.encoded(part.prompts, vectors)
            loss = self.loss(part, vectors, contexts) * (len(part.prompts) / len(batch.prompts))
            total += loss.item()
            if not math.isfinite(total):
                return total
            (scale * loss).backward()
            for prompt, context in contexts.items():
                self.model.encode_prompt(prompt, vectors).backward(context.grad)
        vectors.grad.div_(scale)
        return total

    @torch.no_grad()
    def fixed_loss(self, examples: Examples, state: TrainingState) -> float:
        """The mean loss of the newest vectors over all pictures at evenly spread noise levels, the same at every call.

        One picture at a time, so that it needs no more memory than a step; infinite where it is not a number.
        """
        count = max(len(examples.prompts), FIXED_DRAWS)
        rows = (torch.arange(count) % len(examples.prompts)).tolist()
        batch = self.draw(examples, rows, generator_of(0, 0))
        contexts = self.encoded(batch.prompts, state.newest)
        losses = (self.loss(part, state.newest, contexts).item() for part in batch.split(count))
        mean = sum(losses) / count
        return mean if math.isfinite(mean) else math.inf


def loss_within_memory(task: DenoisingTask, batch: _Batch, vectors: Tensor, state: TrainingState) -> tuple[float, int]:
    """The loss, with its gradient left in `vectors`, and into how many parts the batch had to be split."""
    parts = state.parts
    while True:
        try:
            return task.accumulate(batch, vectors, parts, state.headroom), parts
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if parts >= len(batch.prompts):
                height, width = (8 * side for side in batch.noise.shape[-2:])
                raise ValueError(
                    f"one picture of {width}x{height} does not fit into memory: lower the resolution, or let "
                    "activations be computed again instead of kept"
                ) from error
        parts = min(2 * parts, len(batch.prompts))
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _offset_noise(shape: Sequence[int], offset: float, generator: torch.Generator) -> Tensor:
    """White noise plus one constant a picture and channel: (B, C, h, w)."""
    noise = torch.randn(*shape, generator=generator)
    return noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)


def generator_of(*seeds: int) -> torch.Generator:
    """Randomness that follows from these numbers and nothing else."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]))
