"""What a training is told, what it learns from, and where it stands."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .training_port import CONTEXTS


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
