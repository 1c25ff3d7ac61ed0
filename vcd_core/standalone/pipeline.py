"""What people do: train a token, make a clip. Both show how far they are."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch
from torch import Tensor

from ..identity import (
    SAVE_EVERY,
    Photo,
    Recipe,
    TrainingPlan,
    TrainingState,
    encode_examples,
    load_training,
    plan_training,
    save_training,
    train_id_token,
    weights_sample,
)
from ..motion import MotionModule
from ..noise import correlated_noise
from ..sampling import (
    SAMPLERS,
    DiscreteSchedule,
    classifier_free_guidance,
    karras_sigmas,
    normal_sigmas,
    start_latents,
)
from ..sampling.guidance import Denoise
from .checkpoint import VAE_FACTOR
from .model import Prompt, StableDiffusion
from .motion import inserted_motion

SCHEDULERS = {"karras": karras_sigmas, "normal": normal_sigmas}


@dataclass(frozen=True)
class ClipOptions:
    """How a clip is sampled; the defaults are those of the workflow that the paper's authors released.

    Attributes:
        frames: of the clip; a motion module knows up to 24 or 32.
        size: height and width in pixels, a multiple of 8.
        steps: of the sampler.
        cfg: scale of the classifier-free guidance; 1 is without.
        sampler: a name in `vcd_core.sampling.SAMPLERS`.
        scheduler: a name in `SCHEDULERS`.
        gamma: correlation of neighbouring frames' noise, in [0, 1].
        seed: of everything random.
    """

    frames: int = 16
    size: int = 512
    steps: int = 20
    cfg: float = 8.0
    sampler: str = "dpmpp_2m"
    scheduler: str = "karras"
    gamma: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 64 or self.size % VAE_FACTOR:
            raise ValueError(f"the size must be a multiple of {VAE_FACTOR}, 64 or more, got {self.size}")
        if self.frames < 1 or self.steps < 1:
            raise ValueError(f"frames and steps must be 1 or more, got {self.frames} and {self.steps}")


@dataclass(frozen=True)
class Sampling:
    """How a clip that is there is drawn anew; the defaults are those of the workflow that the paper's authors released.

    Attributes:
        steps: of the sampler; all are taken, whatever the strength.
        cfg: scale of the classifier-free guidance.
        sampler: a name in `vcd_core.sampling.SAMPLERS`.
        scheduler: a name in `SCHEDULERS`.
        gamma: correlation of neighbouring frames' noise, in [0, 1].
        seed: of everything random.
    """

    steps: int = 20
    cfg: float = 8.0
    sampler: str = "euler"
    scheduler: str = "normal"
    gamma: float = 0.1
    seed: int = 0


def plan(model: StableDiffusion, photos: Sequence[Photo], recipe: Recipe, *, linear: bool = False) -> TrainingPlan:
    """What a training will do; raises ValueError without a usable photo, or for a caption too long.

    Args:
        linear: train on the released code's noise levels instead of the model's own.
    """
    return plan_training(recipe, photos, model, (linear, weights_sample(model.unet, model.text_encoder, model.vae)))


def train_token(
    model: StableDiffusion, planned: TrainingPlan, *, checkpoint: Path | None = None, linear: bool = False
) -> TrainingState:
    """Learns the vectors of an `IDToken`; returns the state after the last step.

    Args:
        checkpoint: where the training is kept every `SAVE_EVERY` steps and when it is interrupted. One that is there
            of the same plan is taken up; the owner deletes it when the token is written.
        linear: as the plan was made.

    Raises:
        TrainingDiverged: carries the last good state.
        ValueError: not memory enough for one picture.
    """
    from tqdm import tqdm

    recipe = planned.recipe
    schedule = DiscreteSchedule.from_betas("linear") if linear else model.schedule
    state = None if checkpoint is None else load_training(checkpoint, planned.settings)
    with tqdm(desc="encoding photos", total=len(planned.photos) + len(planned.held_out), unit="photo") as progress:

        def encode(images: Tensor) -> Tensor:
            progress.update()
            return model.encode(images)

        examples, held_out = encode_examples(planned, encode)
    training = train_id_token(
        model, schedule, examples, planned.initial, recipe.options, held_out=held_out, state=state
    )
    done = state.step if state else 0
    with tqdm(desc=f"learning the {recipe.noun}", total=recipe.options.steps, initial=done, unit="step") as progress:
        try:
            for state in training:
                progress.set_postfix(loss=f"{state.losses[-1]:.4f}", refresh=False)
                progress.update()
                if checkpoint is not None and state.step % SAVE_EVERY == 0:
                    save_training(checkpoint, state, planned.settings)
        except KeyboardInterrupt:
            if checkpoint is not None and state is not None:
                save_training(checkpoint, state, planned.settings)
            raise
    return state


@torch.no_grad()
def make_clip(
    model: StableDiffusion, prompt: Prompt, negative: Prompt, options: ClipOptions, motion: MotionModule | None = None
) -> Tensor:
    """A clip (F, H, W, 3) in [0, 1], on the CPU.

    With a motion module the noise levels are AnimateDiff's; without one the frames have nothing in common but the
    prompt and correlated noise.

    Raises:
        ValueError: a prompt too long, more frames than the motion module knows, or a module for another UNet.
    """
    from tqdm import tqdm

    schedule, denoise = guided(model, prompt, negative, options.cfg, motion)
    generator = torch.Generator().manual_seed(options.seed)
    side = options.size // VAE_FACTOR

    def noise() -> Tensor:
        return correlated_noise((options.frames, 4, side, side), options.gamma, generator).to(model.device)

    start = noise()

    sigmas = SCHEDULERS[options.scheduler](schedule, options.steps).to(model.device)
    with (
        inserted_motion(model.unet, motion) if motion is not None else nullcontext(),
        tqdm(total=options.steps, desc="sampling", unit="step") as progress,
    ):
        latents = sampled(
            denoise, start_latents(start, sigmas[0]), sigmas, options.sampler, lambda _step: noise(), progress.update
        )
    frames = [model.decode(latent[None]) for latent in tqdm(latents, "decoding", unit="frame")]
    return (torch.cat(frames).movedim(1, -1) * 0.5 + 0.5).cpu()


def guided(
    model: StableDiffusion, prompt: Prompt, negative: Prompt, cfg: float, motion: MotionModule | None
) -> tuple[DiscreteSchedule, Denoise]:
    """The noise levels, AnimateDiff's where there is a motion module, and the denoiser by a prompt, away from another.

    Raises:
        ValueError: a prompt too long.
    """
    if motion is not None:
        model = replace(model, schedule=DiscreteSchedule.from_betas("linear"))
    wanted, unwanted = (model.denoiser(model.encode_pieces(words)) for words in (prompt, negative))
    return model.schedule, classifier_free_guidance(wanted, unwanted, cfg)


def sampled(
    denoise: Denoise,
    start: Tensor,
    sigmas: Tensor,
    sampler: str,
    noise_of: Callable[[int], Tensor],
    progress: Callable[[], object],
) -> Tensor:
    """What a sampler of `SAMPLERS` makes of a start.

    Args:
        noise_of: step, from 0 -> the noise that a sampler adds after it, if it is one that does.
    """
    steps = count()
    extra = {"noise_sampler": lambda *_: noise_of(next(steps)).to(start)} if sampler == "euler_ancestral" else {}
    return SAMPLERS[sampler](denoise, start, sigmas, callback=lambda _step, _x0: progress(), **extra)
