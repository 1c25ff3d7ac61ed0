"""Learning the token vectors: everything else of the model stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ..sampling.schedule import DiscreteSchedule
from .photos import Photo

PLACEHOLDER = "<id>"
LEAST_HEADROOM = 2**-16


class TextConditionedDenoiser(Protocol):
    """What training asks of a framework."""

    def embed_words(self, words: str) -> Tensor:
        """The text encoder's own input vectors of these words, (k, D) float32."""

    def encode_prompt(self, prompt: str, learned: Tensor) -> Tensor:
        """Encodes a prompt in which `PLACEHOLDER` stands for the vectors `learned` (n, D); differentiable in them.

        Returns:
            (L, D_context)
        """

    def predict_noise(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """ε of noised latents (B, 4, h, w) at timesteps (B,) given (B, L, D_context); differentiable in the last.

        `noised` is variance-preserving: √ᾱ latents + √(1 − ᾱ) noise.
        """


@dataclass(frozen=True)
class TrainingOptions:
    """Defaults of the paper (section 4.1), and the released code's noise offset.

    Attributes:
        steps: optimizer steps.
        batch_size: pictures a step; when there are fewer photos, some come twice.
        learning_rate: AdamW's.
        weight_decay: AdamW's.
        noise_offset: standard deviation of a per-channel constant added to the noise.
        seed: of everything random in the training.
    """

    steps: int = 200
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    noise_offset: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class TrainingStep:
    """What a finished step leaves.

    Attributes:
        number: 1 for the first.
        loss: of this step's batch, before its update.
        vectors: (n, D) float32 after the update; a copy.
    """

    number: int
    loss: float
    vectors: Tensor


class TrainingDiverged(RuntimeError):
    """The loss, its gradient or the vectors stopped being finite.

    Attributes:
        last: the last good step, None if there was none.
    """

    def __init__(self, what: str, step: int, learning_rate: float, last: TrainingStep | None) -> None:
        super().__init__(
            f"training diverged: the {what} of step {step} is not a finite number. "
            f"Lower the learning rate (now {learning_rate:g}), or run the model in a wider precision"
        )
        self.last = last


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


def initial_vectors(noun_vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Starts the tokens at the class noun's own embedding, told apart by a tenth of its size in noise.

    Args:
        noun_vectors: (k, D) what the text encoder has for the noun; repeated or cut to `count`.

    Returns:
        (count, D) float32
    """
    rows = noun_vectors.float()[torch.arange(count) % len(noun_vectors)]
    noise = torch.randn(rows.shape, generator=generator)
    return rows + 0.1 * rows.square().mean().sqrt() * noise


def training_prompts(photos: Sequence[Photo], noun: str) -> list[str]:
    """What each photo shows, in words: the subject by `PLACEHOLDER` and noun, and whatever the caption adds."""
    return [f"photo of a {PLACEHOLDER} {noun}" + (f", {photo.caption}" if photo.caption else "") for photo in photos]


def train_id_token(
    model: TextConditionedDenoiser,
    schedule: DiscreteSchedule,
    latents: Tensor,
    masks: Tensor,
    prompts: Sequence[str],
    initial: Tensor,
    options: TrainingOptions,
) -> Iterator[TrainingStep]:
    """Learns token vectors with a denoising loss that is masked to the subject; yields after every step.

    Only the vectors are parameters. Half of the draws are mirrored, and every picture is drawn equally often.

    Args:
        model: kept frozen by its owner; gradients flow through it, never into it.
        schedule: the noise levels the model was trained on.
        latents: (2N, 4, h, w) of the pictures, followed by those of their mirror images; see `training_images`.
        masks: (2N, 1, H, W) of the same pictures, at any resolution.
        prompts: N prompts, each with `PLACEHOLDER` where the subject is named.
        initial: (n, D) vectors to start from.

    Raises:
        TrainingDiverged: a loss, gradient or vector that is not finite; carries the last good step.
        ValueError: numbers of pictures, masks and prompts that do not fit, or an empty mask.
    """
    pictures = len(prompts)
    if not len(latents) == len(masks) == 2 * pictures:
        raise ValueError(f"{pictures} prompts need {2 * pictures} latents and masks, got {len(latents)}, {len(masks)}")
    generator = torch.Generator().manual_seed(options.seed)
    device = latents.device
    masks = F.interpolate(masks.to(device), latents.shape[-2:], mode="area")
    sigmas = schedule.sigmas.to(device)
    vectors = initial.detach().clone().to(device, torch.float32).requires_grad_()
    optimizer = torch.optim.AdamW([vectors], lr=options.learning_rate, weight_decay=options.weight_decay)
    order = _endless_shuffle(pictures, generator)
    headroom = 1.0

    last = None
    for number in range(1, options.steps + 1):
        chosen = [next(order) for _ in range(options.batch_size)]
        mirrored = torch.randint(2, (options.batch_size,), generator=generator)
        rows = (torch.tensor(chosen) + pictures * mirrored).to(device)
        timesteps = torch.randint(len(sigmas), (options.batch_size,), generator=generator).to(device)
        noise = _offset_noise(latents[rows].shape, options.noise_offset, generator).to(device)
        root_alpha = 1 / (1 + sigmas[timesteps].view(-1, 1, 1, 1) ** 2).sqrt()  # √ᾱ
        noised = root_alpha * latents[rows] + (1 - root_alpha**2).sqrt() * noise

        contexts = {prompt: model.encode_prompt(prompt, vectors) for prompt in {prompts[i]: None for i in chosen}}
        context = torch.stack([contexts[prompts[i]] for i in chosen])
        loss = masked_loss(model.predict_noise(noised, timesteps, context), noise, masks[rows])
        if not torch.isfinite(loss):
            raise TrainingDiverged("loss", number, options.learning_rate, last)
        # A half-precision model would round the small gradients of a mean to nothing; times the area they survive.
        # Where that is too much for it, the step is left out and the next one scaled less.
        optimizer.zero_grad()
        scale = headroom * masks[rows].sum(dim=(1, 2, 3)).mean()
        (scale * loss).backward()
        vectors.grad.div_(scale)
        if torch.isfinite(vectors.grad).all():
            optimizer.step()
        else:
            headroom /= 4
            if headroom < LEAST_HEADROOM:
                raise TrainingDiverged("gradient", number, options.learning_rate, last)
        if not torch.isfinite(vectors).all():
            raise TrainingDiverged("token", number, options.learning_rate, last)
        last = TrainingStep(number, loss.item(), vectors.detach().clone())
        yield last


def _endless_shuffle(count: int, generator: torch.Generator) -> Iterator[int]:
    """0..count−1 in random order, for ever; none comes again before all came."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _offset_noise(shape: Sequence[int], offset: float, generator: torch.Generator) -> Tensor:
    """White noise plus one constant a picture and channel: (B, C, h, w)."""
    noise = torch.randn(*shape, generator=generator)
    return noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)
