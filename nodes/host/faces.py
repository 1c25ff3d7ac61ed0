"""Face VCD over ComfyUI's samplers and VAEs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import comfy.utils
import latent_preview
import psutil
import torch
import torch.nn.functional as F
from comfy import model_management
from torch import Tensor

from ...vcd_core.faces import (
    CropOptions,
    FaceChoice,
    FaceJob,
    InOrder,
    Refine,
    RefineOptions,
    find_faces,
    plan_faces,
    reference_embedding,
    refine_faces,
    window_count,
)
from ...vcd_core.tiles import check_clip_fits
from ...vcd_core.vision import FaceDetector, GivenBoxes, GivenMasks
from .face_timeline import face_timeline
from .sampling import Sampling, sample

SHOWN_CROP = 256  # pixels: crops are for looking at, and there can be many
FRAMES_AT_ONCE = 4  # that go through the VAE together: between two lots a user may stop it


@dataclass(frozen=True)
class FacesRefined:
    """What the node gives.

    Attributes:
        clip: (F, H, W, C), C as it came in.
        masks: (F, H, W).
        crops: (N, S, 2 S, 3): before and after side by side, of every face one after the other.
        report: lines for the user.
        timeline: what the page shows.
    """

    clip: Tensor
    masks: Tensor
    crops: Tensor
    report: list[str]
    timeline: dict


def refine_clip(
    clip: Tensor,
    detector: FaceDetector,
    sampling: Sampling,
    vae,
    crop: CropOptions,
    options: RefineOptions,
    order: str,
    index: int,
    reference: Tensor | None,
) -> FacesRefined:
    """Finds, follows and draws anew the faces of a clip (F, H, W, 3 or 4) in [0, 1]; alpha is handed through."""
    check_clip_fits(*clip.shape[:3], psutil.virtual_memory().available)
    clip = clip.float().cpu()
    frames = clip[..., :3].contiguous()
    _check_vae(vae, crop.size)
    embedding = None if reference is None else reference_embedding(detector, _one_photo(reference))
    looked_at = comfy.utils.ProgressBar(len(frames))

    def looked(count: int) -> None:
        looked_at.update_absolute(count)
        model_management.throw_exception_if_processing_interrupted()

    found = find_faces(frames, detector, looked)
    plan = plan_faces(found, crop, [FaceChoice(order, index, embedding)])
    shown_size = min(crop.size, SHOWN_CROP)
    if options.strength == 0:
        plan.report.append("strength 0 changes nothing")
    if not plan.paths or options.strength == 0:
        nothing = torch.zeros(clip.shape[:3]), torch.zeros(1, shown_size, 2 * shown_size, 3)
        return FacesRefined(clip, *nothing, plan.report, face_timeline(len(frames), found.cuts, plan.tracks, []))
    refine = face_refiner(sampling, vae, options.gamma, window_count(plan.paths, options))
    jobs = [FaceJob(path, refine) for path in plan.paths]
    made, masks, pairs = clip.clone(), torch.zeros(clip.shape[:3]), [[] for _ in jobs]
    for number, result in enumerate(refine_faces(frames, jobs, crop, options, plan.left_alone)):
        made[number, ..., :3], masks[number] = result.image, result.mask
        for job, pair in result.crops.items():
            pairs[job].append(torch.cat([_small(picture, shown_size) for picture in pair], 1))
    timeline = face_timeline(len(frames), found.cuts, plan.tracks, pairs)
    crops = torch.stack([pair for of_face in pairs for pair in of_face]).float()
    return FacesRefined(made, masks, crops, plan.report, timeline)


def _check_vae(vae, size: int) -> None:
    factor = vae.spacial_compression_encode()
    if vae.latent_dim != 2:
        raise ValueError("the VAE is of a video model: Face VCD draws with image models, such as Stable Diffusion 1.5")
    if size % factor:
        raise ValueError(f"size must be a multiple of {factor} for this VAE, not {size}")


def _small(picture: Tensor, size: int) -> Tensor:
    """(S, S, 3) -> (size, size, 3), in half precision until all are there."""
    small = F.interpolate(picture.movedim(-1, 0)[None], (size, size), mode="area")[0].movedim(0, -1)
    return small.half()


def face_refiner(sampling: Sampling, vae, gamma: float, windows: int) -> Refine:
    """A `refine` that shows its progress over so many windows, and stops when the user does."""
    total = windows * sampling.steps
    progress = comfy.utils.ProgressBar(total)
    model = sampling.model
    previewer = latent_preview.get_previewer(model.load_device, model.model.latent_format)
    done = 0

    def refine(clip: Tensor, mask: Tensor, noise: Tensor, strength: float) -> Tensor:
        nonlocal done
        latents = _a_few_at_a_time(vae.encode, clip)
        where = F.interpolate(mask[:, None], latents.shape[-2:], mode="area")

        def show(step: int, x0: Tensor, _x: Tensor, _steps: int) -> None:
            picture = previewer.decode_latent_to_preview_image("JPEG", x0) if previewer else None
            progress.update_absolute(done + step + 1, total, picture)

        drawn = sample(
            sampling,
            noise.to(latents.dtype),
            latents,
            denoise=strength,
            gamma=gamma,
            noise_mask=where,
            callback=show,
        )
        done += sampling.steps
        return _a_few_at_a_time(vae.decode, drawn).clamp(0, 1)

    return refine


def _a_few_at_a_time(function: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    made = []
    for few in frames.split(FRAMES_AT_ONCE):
        model_management.throw_exception_if_processing_interrupted()
        made.append(function(few))
    return torch.cat(made)


def given_faces(clip: Tensor, boxes: dict | Sequence | None, masks: Tensor | None) -> FaceDetector | None:
    """A detector of the faces that another node has found; None if none has."""
    pictures = clip[..., :3].movedim(-1, 1)
    if boxes is not None:
        return InOrder(GivenBoxes(boxes).detect(pictures))
    if masks is not None:
        return InOrder(GivenMasks(masks.float().cpu()).detect(pictures))
    return None


def _one_photo(reference: Tensor) -> Tensor:
    if len(reference) != 1:
        raise ValueError(f"reference takes one photo, got {len(reference)}: choose the best")
    return reference[0].float().cpu()
