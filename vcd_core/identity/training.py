"""Learning the token vectors: everything else of the model stays as it is."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..memory import is_out_of_memory
from ..sampling.schedule import DiscreteSchedule

PLACEHOLDER = "<id>"
CONTEXTS = (
    "on a beach",
    "in the snow",
    "in a forest",
    "in a desert",
    "in a city at night",
    "in a kitchen",
    "in a library",
    "on a stage",
)
"""What is said of the surroundings while a token learns to leave them alone."""
LEAST_HEADROOM = 2**-16
FIXED_DRAWS = 16


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
        batch_size: pictures a step; when there are fewer, some come twice.
        learning_rate: AdamW's.
        decay: the last part of the steps, in [0, 1], over which the learning rate falls to nothing; 0 keeps it, as the
            paper does. Vectors of a constant rate depend on what happened to come last.
        weight_decay: pull of each vector's norm towards the one it began with, as strong as AdamW's pull to zero.
        hold_norm: keep each vector's norm at the one it began with, in place of `weight_decay`: longer vectors drown
            the words that say where somebody is.
        context_weight: of `context_loss`, by which a token learns to leave alone what the rest of a prompt says; a step
            takes half as long again. 0 for the paper's loss alone.
        contexts: what the rest of the prompt says then, one of these or nothing.
        noise_offset: standard deviation of a per-channel constant added to the noise.
        seed: of everything random in the training.
        patience: checks of the held-out loss without a new lowest until training stops; 0 trains to the end.
        check_every: steps between these checks; with `decay` they begin where the rate falls.
    """

    steps: int = 200
    batch_size: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    hold_norm: bool = False
    context_weight: float = 0.0
    contexts: tuple[str, ...] = CONTEXTS
    noise_offset: float = 0.1
    seed: int = 0
    patience: int = 0
    check_every: int = 20
    decay: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.decay <= 1:
            raise ValueError(f"decay is a part of the steps, in [0, 1], got {self.decay}")

    def settles(self, step: int) -> bool:
        """Whether vectors of this step are to be judged: where the rate falls, not before it does."""
        return step > (1 - self.decay) * self.steps if self.decay else True

    def learning_rate_of(self, step: int) -> float:
        """Of one of the steps 1 to `steps`."""
        falling = self.decay * self.steps
        return self.learning_rate * min(1.0, (self.steps - step + 1) / falling if falling else 1.0)


@dataclass(frozen=True)
class Examples:
    """What is trained on.

    Attributes:
        latents: (N, 4, h, w) of the pictures.
        masks: (N, 1, h, w) in [0, 1] of the same pictures, at latent resolution, none empty.
        prompts: N prompts, each with `PLACEHOLDER` where the subject is named.
    """

    latents: Tensor
    masks: Tensor
    prompts: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.latents) == len(self.masks) == len(self.prompts) > 0:
            raise ValueError(
                f"{len(self.prompts)} prompts need as many latents and masks, got {len(self.latents)} and "
                f"{len(self.masks)}"
            )


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands after a step, and all that it needs to go on.

    Attributes:
        step: how many steps are done.
        updates: how many of them changed the vectors.
        vectors: (n, D) float32 to use: the newest, or once held-out pictures were checked those of the lowest loss.
        newest, momentum, variance: (n, D) float32, and AdamW's averages of their gradient and its square.
        losses: of every step's batch, before its update.
        checks: held-out losses, one every `options.check_every` steps.
        headroom: by how much gradients had to be scaled down so as not to overflow, 1 for not.
        parts: into how many parts batches are split so as to fit into memory.
    """

    step: int
    updates: int
    vectors: Tensor
    newest: Tensor
    momentum: Tensor
    variance: Tensor
    losses: tuple[float, ...] = ()
    checks: tuple[float, ...] = ()
    headroom: float = 1.0
    parts: int = 1

    @property
    def stale(self) -> int:
        """Checks since the lowest."""
        return len(self.checks) - 1 - self.checks.index(min(self.checks)) if self.checks else 0

    def remarks(self, options: TrainingOptions) -> list[str]:
        """What a user is to know of how the training went, where it did not simply run to its end."""
        remarks = []
        if self.step < options.steps:
            checks = f"{self.stale} checks" if self.stale > 1 else "a check"
            remarks.append(
                f"stopped early, after step {self.step} of {options.steps}: {checks} of the held-out photos found "
                "nothing better than the vectors that were kept"
            )
        if self.parts > 1:
            remarks.append(f"batches were split into {self.parts} to fit into memory")
        return remarks


class TrainingDiverged(ValueError):
    """The loss, its gradient or the vectors stopped being finite.

    Attributes:
        last: the last state whose vectors were seen to give a finite loss, None if there was none.
    """

    def __init__(self, what: str, step: int, learning_rate: float, last: TrainingState | None) -> None:
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


def subject_prompt(noun: str, opening: str = "", caption: str = "") -> str:
    """A prompt for training: `PLACEHOLDER` and noun for the subject, and what else is to be said of the picture.

    Args:
        opening: such as "very small ".
        caption: such as "on a beach".
    """
    return f"{opening}photo of a {PLACEHOLDER} {noun}" + (f", {caption}" if caption else "")


def in_context(prompt: str, context: str) -> str:
    """A prompt for training that also says where the subject is; one that has a caption stays as it is."""
    has_caption = "," in prompt.partition(PLACEHOLDER)[2]
    return f"{prompt} {context}" if context and not has_caption else prompt


def train_id_token(
    model: TextConditionedDenoiser,
    schedule: DiscreteSchedule,
    examples: Examples,
    initial: Tensor,
    options: TrainingOptions,
    *,
    held_out: Examples | None = None,
    state: TrainingState | None = None,
) -> Iterator[TrainingState]:
    """Learns token vectors with a denoising loss that is masked to the subject; yields after every step.

    Only the vectors are parameters. Every picture is drawn equally often, and a batch spreads over the noise levels
    evenly. What a step draws follows from the seed and its number, so a training that goes on from a state of the same
    arguments ends where an unbroken one does. A batch that does not fit into memory is split, with the same gradient.

    Args:
        model: kept frozen by its owner; gradients flow through it, never into it.
        schedule: the noise levels the model was trained on.
        initial: (n, D) vectors to start from; the norms of their rows are what weight decay pulls to.
        held_out: pictures that are only looked at, for `options.patience`, and to choose the best vectors.
        state: of an earlier run, to go on from.

    Raises:
        TrainingDiverged: a loss, gradient or vector that is not finite; carries the last good step.
        ValueError: an empty mask, or not memory enough for one picture.
    """
    device = examples.latents.device
    initial = initial.detach().to(device, torch.float32)
    last = None
    state = state or TrainingState(0, 0, initial, initial, torch.zeros_like(initial), torch.zeros_like(initial))
    state = replace(state, vectors=state.vectors.to(device))
    vectors = _TrainedVectors(state, initial.norm(dim=1))
    task = _Denoising(
        model,
        schedule.sigmas.to(device),
        options.noise_offset,
        options.context_weight,
        ("", *options.contexts) if options.context_weight > 0 else ("",),
    )
    while state.step < options.steps and not 0 < options.patience <= state.stale:
        number = state.step + 1
        rows = _pictures_of_step(number, options.batch_size, len(examples.prompts), options.seed)
        batch = task.draw(examples, rows, _generator(options.seed, number))
        loss, parts = _within_memory(task, batch, vectors.trained, state)
        if not math.isfinite(loss):
            raise TrainingDiverged("loss", number, options.learning_rate, last)
        last = state if state.step > 0 else None
        state = replace(state, step=number, losses=(*state.losses, loss), parts=parts)
        rate = options.learning_rate_of(number)
        state = vectors.update(state, rate, 1.0 if options.hold_norm else min(1.0, rate * options.weight_decay))
        if state.headroom < LEAST_HEADROOM:
            raise TrainingDiverged("gradient", number, options.learning_rate, last)
        if not torch.isfinite(state.newest).all():
            raise TrainingDiverged("token", number, options.learning_rate, last)
        due = number % options.check_every == 0 or number == options.steps
        checked = held_out is not None and due and options.settles(number)
        if checked:
            state = replace(state, checks=(*state.checks, task.fixed_loss(held_out, state)))
        if not state.checks or (checked and state.stale == 0):
            state = replace(state, vectors=state.newest)
        yield state


class _TrainedVectors:
    """AdamW over token vectors whose norms are pulled to where they began, not to zero.

    Args:
        state: to go on from.
        norms: (n,) of the rows of the first vectors.
    """

    def __init__(self, state: TrainingState, norms: Tensor) -> None:
        self.trained = state.newest.to(norms).clone().requires_grad_()
        self.norms = norms[:, None]
        self.optimizer = torch.optim.AdamW([self.trained], weight_decay=0)
        self.optimizer.state[self.trained] = {
            "step": torch.tensor(float(state.updates)),
            "exp_avg": state.momentum.to(norms).clone(),
            "exp_avg_sq": state.variance.to(norms).clone(),
        }

    @torch.no_grad()
    def update(self, state: TrainingState, learning_rate: float, pull: float) -> TrainingState:
        """Takes one step along the gradient that the vectors have; none where it overflowed.

        Args:
            pull: how much of the way back to their first norms the vectors go, 0 to 1.
        """
        if not torch.isfinite(self.trained.grad).all():
            return replace(state, headroom=state.headroom / 4)
        self.optimizer.param_groups[0]["lr"] = learning_rate
        self.optimizer.step()
        shortfall = self.norms / self.trained.norm(dim=1, keepdim=True).clamp(min=1e-12) - 1
        self.trained.mul_(1 + pull * shortfall)
        averages = self.optimizer.state[self.trained]
        return replace(
            state,
            updates=state.updates + 1,
            newest=self.trained.detach().clone(),
            momentum=averages["exp_avg"].clone(),
            variance=averages["exp_avg_sq"].clone(),
        )


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
class _Denoising:
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
        batch = self.draw(examples, rows, _generator(0, 0))
        contexts = self.encoded(batch.prompts, state.newest)
        losses = (self.loss(part, state.newest, contexts).item() for part in batch.split(count))
        mean = sum(losses) / count
        return mean if math.isfinite(mean) else math.inf


def _within_memory(task: _Denoising, batch: _Batch, vectors: Tensor, state: TrainingState) -> tuple[float, int]:
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


def _pictures_of_step(number: int, batch_size: int, count: int, seed: int) -> list[int]:
    """Which of `count` pictures step `number` takes; none comes again before all came."""
    places = range((number - 1) * batch_size, number * batch_size)
    rounds = {place // count for place in places}
    orders = {one: torch.randperm(count, generator=_generator(seed, 0, one)).tolist() for one in rounds}
    return [orders[place // count][place % count] for place in places]


def _generator(*seeds: int) -> torch.Generator:
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1, np.uint64)[0]))


def _offset_noise(shape: Sequence[int], offset: float, generator: torch.Generator) -> Tensor:
    """White noise plus one constant a picture and channel: (B, C, h, w)."""
    noise = torch.randn(*shape, generator=generator)
    return noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)
