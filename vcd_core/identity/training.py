"""Learning the token vectors: everything else of the model stays as it is."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..sampling.schedule import DiscreteSchedule
from .denoising_task import DenoisingTask, generator_of, loss_within_memory
from .training_port import TextConditionedDenoiser
from .training_state import Examples, TrainingDiverged, TrainingOptions, TrainingState

LEAST_HEADROOM = 2**-16


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
    task = DenoisingTask(
        model,
        schedule.sigmas.to(device),
        options.noise_offset,
        options.context_weight,
        ("", *options.contexts) if options.context_weight > 0 else ("",),
    )
    while state.step < options.steps and not 0 < options.patience <= state.stale:
        number = state.step + 1
        rows = _pictures_of_step(number, options.batch_size, len(examples.prompts), options.seed)
        batch = task.draw(examples, rows, generator_of(options.seed, number))
        loss, parts = loss_within_memory(task, batch, vectors.trained, state)
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


def _pictures_of_step(number: int, batch_size: int, count: int, seed: int) -> list[int]:
    """Which of `count` pictures step `number` takes; none comes again before all came."""
    places = range((number - 1) * batch_size, number * batch_size)
    rounds = {place // count for place in places}
    orders = {one: torch.randperm(count, generator=generator_of(seed, 0, one)).tolist() for one in rounds}
    return [orders[place // count][place % count] for place in places]
