"""Masks from words."""

import logging
from datetime import datetime
from pathlib import Path

import folder_paths
import torch
from comfy import model_management
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ..vcd_core.identity import segment_photos
from ..vcd_core.vision import CHOICES, PromptSegmenter, SeveralSubjects, load_grounding_dino, load_sam
from .convert import to_pil
from .host.folders import (
    SAMS,
    check_grounding_dino_folder,
    check_model_file,
    grounding_dino_folder,
    grounding_dino_folders,
    model_files,
    model_path,
)
from .host.memory import on_compute_device
from .sockets import Photos

NO_FOLDER = "(none)"
WORKING_MEMORY = 3 * 1024**3  # of the attention of SAM vit_h over a picture of 1024x1024, in float32


class SegmentByPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_SegmentByPrompt",
            display_name="Segment by Prompt (VCD)",
            category="VCD/identity",
            description="Cuts the subject out of each photo by its name, so that an ID token learns the subject and "
            "not its background: GroundingDINO finds it, SAM draws its mask. Photos that have a mask keep it.",
            is_output_node=True,
            inputs=[
                Photos.Input("photos", tooltip="From Load Identity Photos (VCD)."),
                io.String.Input(
                    "prompt",
                    default="person",
                    tooltip="What the subject is, in a word or a few: person, cat, teapot, man in a red shirt.",
                ),
                io.Combo.Input(
                    "grounding_dino",
                    options=[*grounding_dino_folders(), NO_FOLDER],
                    tooltip="A folder in models/grounding-dino with the files of IDEA-Research/grounding-dino-base or "
                    "-tiny.",
                ),
                io.Combo.Input(
                    "sam",
                    options=model_files(SAMS),
                    tooltip="A file in models/sams: sam_vit_b_01ec64.pth, sam_vit_l_0b3195.pth or the published "
                    "method's sam_vit_h_4b8939.pth.",
                ),
                io.Float.Input(
                    "box_threshold",
                    default=0.3,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip="What scores less is not the subject. Lower it if nothing is found, raise it if too much.",
                ),
                io.Float.Input(
                    "text_threshold",
                    default=0.25,
                    min=0.01,
                    max=0.99,
                    step=0.01,
                    tooltip="A word of the prompt that scores less does not count; something that matches no word is "
                    "left out.",
                ),
                io.Combo.Input(
                    "choice",
                    options=list(CHOICES),
                    default=CHOICES[0],
                    tooltip="Which of several in one photo is the subject. refuse if several: stop and show them.",
                ),
                io.String.Input(
                    "hugging_face_id",
                    default="",
                    optional=True,
                    tooltip="Instead of a folder: IDEA-Research/grounding-dino-base or another GroundingDINO on the "
                    "Hugging Face hub, downloaded once into its own cache.",
                ),
            ],
            outputs=[Photos.Output(display_name="photos"), io.Image.Output(display_name="preview")],
        )

    @classmethod
    def validate_inputs(
        cls, grounding_dino: str | None, sam: str | None, hugging_face_id: str | None = ""
    ) -> bool | str:
        if hugging_face_id is not None and not hugging_face_id.strip():
            checked = check_grounding_dino_folder(grounding_dino)
            if checked is not True:
                return checked
        return check_model_file(SAMS, sam, "SAM checkpoint")

    @classmethod
    def execute(
        cls,
        photos,
        prompt: str,
        grounding_dino: str,
        sam: str,
        box_threshold: float,
        text_threshold: float,
        choice: str,
        hugging_face_id: str = "",
    ) -> io.NodeOutput:
        detector = load_grounding_dino(hugging_face_id.strip() or grounding_dino_folder(grounding_dino))
        masker = load_sam(model_path(SAMS, sam))
        segmenter = PromptSegmenter(detector, masker, box_threshold, text_threshold, choice)

        progress = ProgressBar(len(photos))
        results, pictures = [], []
        with on_compute_device(detector, masker, working_memory=WORKING_MEMORY):
            try:
                for result in segment_photos(photos, segmenter, prompt):
                    results.append(result)
                    pictures.append(result.picture())
                    progress.update_absolute(len(results), len(photos), ("JPEG", to_pil(pictures[-1]), None))
                    model_management.throw_exception_if_processing_interrupted()
            except SeveralSubjects as error:
                raise ValueError(f"{error}. What was found is drawn in {_save(error.picture)}") from error

        skipped = [f"skipped {result.photo.name}: {result.problem}" for result in results if result.problem]
        for line in skipped:
            logging.warning("VCD_SegmentByPrompt %s", line)
        usable = [result.photo for result in results if not result.problem]
        preview = torch.stack(pictures)
        report = "\n".join([f"{len(usable)} of {len(photos)} photos have a mask", *skipped])
        shown = ui.PreviewImage(preview, cls=cls).as_dict() | ui.PreviewText(report).as_dict()
        return io.NodeOutput(usable, preview, ui=shown)


def _save(picture: torch.Tensor) -> Path:
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"vcd_several_subjects_{datetime.now():%H%M%S}.png"
    to_pil(picture).save(path)
    return path


NODES = [SegmentByPrompt]
