"""Training an ID token in ComfyUI: with its progress bar and stop button, and its files among the embeddings."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from comfy import model_management
from comfy.utils import ProgressBar

from ...vcd_core.files import check_writable
from ...vcd_core.identity import (
    SAVE_EVERY,
    SD15_WIDTH,
    Examples,
    IDToken,
    Photo,
    Recipe,
    TrainingDiverged,
    TrainingState,
    encode_examples,
    find_id_token,
    load_training,
    make_thumbnail,
    noun_noise,
    plan_training,
    sample_latents,
    save_id_token,
    save_or_reuse_id_token,
    save_partial_id_token,
    save_training,
    train_id_token,
    training_file,
)
from ...vcd_core.sampling import DiscreteSchedule
from .folders import DEMO_TOKENS, embeddings_folder
from .page import TrainingNews, curve, jpeg_url
from .training import ComfyDenoiser, check_vae, encode_latents, noise_levels

OWN_SCHEDULE, RELEASED_SCHEDULE = "the model's own", "linear, as released"


@dataclass(frozen=True)
class TrainedToken:
    """What the node gives.

    Attributes:
        token: under the name that it was saved by.
        prompt: what to write into a prompt, with the folder inside the embeddings folder.
        losses: of every step.
        card: what the page shows of the token.
        report: lines for the user.
    """

    token: IDToken
    prompt: str
    losses: list[float]
    card: dict
    report: list[str]


def train_token(
    model,
    clip,
    vae,
    photos: Sequence[Photo],
    recipe: Recipe,
    name: str,
    *,
    overwrite: bool,
    save_memory: bool,
    sample_every: int,
    schedule: str,
) -> TrainedToken:
    """Learns a token and saves it; or finds the token of the same photos, model and settings.

    A training that is stopped or whose ComfyUI is ended goes on where it was when it is queued again; stopped, its
    vectors so far are kept as NAME_partial.

    Raises:
        ValueError: no usable photos, a model or VAE of another family, or a model whose sampling a node changed.
        TrainingDiverged: in the first step.
        RuntimeError: it diverged later; says where the last good vectors were kept.
    """
    check_vae(vae)
    denoiser = ComfyDenoiser(model, clip)
    own = noise_levels(denoiser.model)
    levels = own if schedule == OWN_SCHEDULE else DiscreteSchedule.from_betas("linear")
    plan = plan_training(recipe, photos, denoiser, [levels, denoiser.fingerprint_parts(vae)])
    for remark in plan.remarks:
        logging.warning("VCD_TrainIDToken: %s", remark)
    shown = plan.shown()
    folder = _folder_for(plan.initial.shape[1])
    there = None if overwrite else find_id_token(folder, name, plan.settings)
    if there is not None:
        line = f"{there.name} was trained on the same photos with the same settings: used as it is"
        return TrainedToken(
            there, _prompt(there, folder), list(there.losses), _card(there, folder), [line, *plan.remarks]
        )
    check_writable(folder)
    checkpoint = training_file(folder, name, plan.settings)
    state = load_training(checkpoint, plan.settings)
    if state is not None:
        logging.info("VCD_TrainIDToken: %s goes on after step %d", name, state.step)
    examples, held_out = encode_examples(plan, partial(encode_latents, model, vae))
    about = IDToken(
        name,
        plan.initial,
        recipe.noun,
        0,
        type(model.model.model_config).__name__,
        date.today().isoformat(),
        plan.settings,
        repr(recipe),
        thumbnail=make_thumbnail(shown[0, :3].movedim(0, -1)),
    )

    with denoiser.gradients(recompute=save_memory):
        examples, held_out = _ordinary(examples), held_out and _ordinary(held_out)
        noun_before = noun_noise(denoiser, own, recipe.noun, examples.latents[:1])
        progress = ProgressBar(recipe.options.steps)
        news = TrainingNews(recipe.options.steps, state.step if state else 0, shown)
        initial = plan.initial.clone()
        training = train_id_token(denoiser, levels, examples, initial, recipe.options, held_out=held_out, state=state)
        try:
            for state in training:
                sample = None
                if sample_every > 0 and state.step % sample_every == 0:
                    latents = sample_latents(denoiser, own, recipe.noun, state.vectors, recipe.size)
                    sample = denoiser.decode(vae, latents)
                if state.step % SAVE_EVERY == 0:
                    save_training(checkpoint, state, plan.settings)
                news.tell(state.step, state.losses, sample)
                progress.update_absolute(state.step, recipe.options.steps)
                model_management.throw_exception_if_processing_interrupted()
        except TrainingDiverged as error:
            if error.last is None:
                raise
            checkpoint.unlink(missing_ok=True)  # it would only diverge again
            kept = save_partial_id_token(_token(about, error.last), folder)
            raise RuntimeError(f"{error}. The vectors of step {error.last.step} were kept in {kept}") from error
        except model_management.InterruptProcessingException:
            if state is None:  # in the first step
                raise
            save_training(checkpoint, state, plan.settings)
            kept = save_partial_id_token(_token(about, state), folder)
            logging.info("VCD_TrainIDToken: stopped after step %d; its vectors are in %s", state.step, kept)
            raise
        noun_after = noun_noise(denoiser, own, recipe.noun, examples.latents[:1])

    token = _token(about, state)
    path = save_id_token(token, folder, overwrite=True) if overwrite else save_or_reuse_id_token(token, folder)
    checkpoint.unlink(missing_ok=True)
    token = replace(token, name=path.stem)
    losses = list(state.losses)
    change = (noun_after - noun_before).abs().max().item()
    said = "stays as it was" if change == 0 else f"has changed by {change:.1e}"
    report = [
        str(path),
        f"{len(shown)} photos, {state.step} steps, loss {losses[0]:.4f} -> {losses[-1]:.4f}",
        f"what the model draws for {recipe.noun} alone {said}",
        *state.remarks(recipe.options),
        *plan.remarks,
    ]
    return TrainedToken(token, _prompt(token, folder), losses, _card(token, folder), report)


def _token(about: IDToken, state: TrainingState) -> IDToken:
    return replace(about, vectors=state.vectors.cpu(), steps=state.step, losses=state.losses)


def _folder_for(width: int) -> Path:
    """Tokens of the demo model keep apart from those of Stable Diffusion 1.5."""
    folder = embeddings_folder()
    return folder if width == SD15_WIDTH else folder / DEMO_TOKENS


def _prompt(token: IDToken, folder: Path) -> str:
    """What finds the token's file from any CLIP of its width."""
    name = (folder / token.name).relative_to(embeddings_folder()).as_posix()
    return f"embedding:{name} {token.noun}".strip()


def _card(token: IDToken, folder: Path) -> dict:
    return {
        **{"name": token.name, "noun": token.noun, "prompt": _prompt(token, folder), "steps": token.steps},
        **{"vectors": len(token.vectors), "size": (folder / f"{token.name}.safetensors").stat().st_size},
        **{"losses": curve(token.losses), "picture": jpeg_url(token.thumbnail)},
    }


def _ordinary(examples: Examples) -> Examples:
    """Copies that autograd can use, of tensors that were made in inference mode."""
    return replace(examples, latents=examples.latents.clone(), masks=examples.masks.clone())
