"""Face VCD as the demo uses it."""

from collections.abc import Callable

import torch
from torch import Tensor

from vcd_core.faces import CropOptions, FaceJob, RefineOptions, find_faces, plan_faces, refine_faces, window_count
from vcd_core.motion import MotionModule
from vcd_core.standalone.faces import face_refiner
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import Sampling
from vcd_core.vision import FaceDetector

from . import measure

CROP = CropOptions(size=measure.SIZE, margin=1.5, mask_margin=1.3, min_enlargement=1.3)
STRENGTH, GAMMA = 0.6, 1.0  # equal noise: in a square that follows a face, what is drawn stays where it is
NEAR = "a portrait of"  # what the square around a face shows


def draw_faces_anew(
    model: StableDiffusion,
    motion: MotionModule,
    detector: FaceDetector,
    clip: Tensor,
    prompt: Prompt,
    seed: int,
    gamma: float,
    progress: Callable[[int, int], object] = lambda done, total: None,
) -> tuple[Tensor, Tensor]:
    """A clip (F, H, W, 3) in [0, 1] with its faces drawn anew, and how far each pixel was, (F, H, W).

    Args:
        prompt: who it is, in pieces, as `NEAR` shows her.
        progress: called with the steps done and all there are.
    """
    options = RefineOptions(STRENGTH, gamma, seed)
    plan = plan_faces(find_faces(clip, detector), CROP)
    total, done = window_count(plan.paths, options) * measure.STEPS, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    sampling = Sampling(measure.STEPS, measure.CFG, gamma=gamma, seed=seed)
    refine = face_refiner(model, prompt, [""], sampling, motion, step)
    jobs = [FaceJob(path, refine) for path in plan.paths]
    frames = list(refine_faces(clip, jobs, CROP, options, plan.left_alone))
    return torch.stack([frame.image for frame in frames]), torch.stack([frame.mask for frame in frames])
