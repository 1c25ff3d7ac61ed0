"""Face VCD."""

from comfy_api.latest import io, ui

from ..vcd_core.faces import ALL, ORDERS, CropOptions, RefineOptions
from .host.faces import given_faces, refine_clip
from .host.sampling import Sampling
from .noise import GAMMA, sampling_inputs
from .sockets import FaceBoxes, FaceDetectorSocket


class FaceVCD(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_FaceVCD",
            display_name="Face VCD (VCD)",
            category="VCD/faces",
            description="Follows the faces in a clip and draws each anew, large and close, by a model and the prompt "
            "of its person; all around it stays as it is. Works on any clip. Several people take several nodes, each "
            "with its face and its prompt.",
            inputs=[
                io.Image.Input("clip", tooltip="The frames of a clip, from any source."),
                io.Model.Input(
                    "model", tooltip="Draws the faces; with a motion module, so that they move as one clip."
                ),
                io.Vae.Input("vae", tooltip="The VAE of that model."),
                io.Conditioning.Input(
                    "positive", tooltip="Who it is: a photo of embedding:ava woman, and how she looks, close by."
                ),
                io.Conditioning.Input("negative", tooltip="What the face must not show."),
                *sampling_inputs(sampler="euler", scheduler="normal"),
                io.Float.Input(
                    "strength",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much is drawn anew. 0.3-0.5 sharpens a face that is right, 0.6-0.8 gives it another "
                    "identity; 0.8 is the published workflow's. 0 changes nothing.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.1,
                    **GAMMA,
                    tooltip="How much of a frame's noise the next one repeats. In a crop that follows it a face stays "
                    "in place: 0.5 to 1 keeps it steady; 0.1 lets it move, and can be more like the person.",
                ),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=2048,
                    step=8,
                    tooltip="Faces are drawn in a square of so many pixels. What the model likes: 512 for Stable "
                    "Diffusion 1.5.",
                ),
                io.Float.Input(
                    "crop_factor",
                    default=2.0,
                    min=1.2,
                    max=8.0,
                    step=0.1,
                    tooltip="The square over the face. More shows the model more around the face, and the face "
                    "smaller. The published workflow takes 3.",
                ),
                io.Float.Input(
                    "mask_factor",
                    default=1.4,
                    min=0.1,
                    max=8.0,
                    step=0.1,
                    tooltip="What is drawn anew over the face's box. 1.4 takes most of the hair along.",
                ),
                io.Float.Input(
                    "feather",
                    default=0.4,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="The part of that in which the new face fades into the old picture.",
                ),
                io.Combo.Input(
                    "faces",
                    options=list(ORDERS),
                    default=ORDERS[0],
                    tooltip="The order in which the faces that are there at the same time are counted.",
                ),
                io.Int.Input(
                    "which",
                    default=ALL,
                    min=ALL,
                    max=64,
                    tooltip="Which face of that order, from 0; -1 draws all of them.",
                ),
                FaceDetectorSocket.Input(
                    "detector", optional=True, tooltip="From Load Face Detector (VCD); not needed with boxes or masks."
                ),
                FaceBoxes.Input(
                    "boxes",
                    optional=True,
                    tooltip="Boxes that another node found, such as MediaPipe Face Landmarker.",
                    extra_dict={"forceInput": True},  # newer pages would draw a box to fill in, and send it
                ),
                io.Mask.Input("masks", optional=True, tooltip="Or masks of the faces, one a frame, or one for all."),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="A photo of the person meant; others are left alone. Needs a detector that recognises "
                    "people (insightface).",
                ),
                io.Boolean.Input(
                    "upright",
                    default=False,
                    optional=True,
                    tooltip="Turn leaning heads upright while they are drawn, where the detector knows the eyes.",
                ),
                io.Int.Input(
                    "window",
                    default=16,
                    min=1,
                    max=1024,
                    optional=True,
                    tooltip="Frames drawn together: what the motion module likes, 16 for AnimateDiff.",
                ),
                io.Int.Input(
                    "overlap",
                    default=4,
                    min=0,
                    max=1023,
                    optional=True,
                    tooltip="Frames that two windows share at least, in which one fades into the next.",
                ),
                io.Float.Input(
                    "min_enlargement",
                    default=0.0,
                    min=0.0,
                    max=16.0,
                    step=0.1,
                    optional=True,
                    tooltip="Leave faces alone that the square enlarges less than so many times. 1.3, at size 512 and "
                    "crop_factor 2: faces of more than 197 pixels, where they are right already. 0: draw all.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="clip"),
                io.Mask.Output(display_name="masks"),
                io.Image.Output(display_name="crops"),
                io.String.Output(display_name="report"),
            ],
        )

    @classmethod
    def execute(
        cls,
        clip,
        model,
        vae,
        positive,
        negative,
        seed: int,
        steps: int,
        cfg: float,
        sampler_name: str,
        scheduler: str,
        strength: float,
        gamma: float,
        size: int,
        crop_factor: float,
        mask_factor: float,
        feather: float,
        faces: str,
        which: int,
        detector=None,
        boxes=None,
        masks=None,
        reference=None,
        upright: bool = False,
        window: int = 16,
        overlap: int = 4,
        min_enlargement: float = 0.0,
    ) -> io.NodeOutput:
        found = given_faces(clip, boxes, masks)
        if detector is None and found is None:
            raise ValueError("connect a detector from Load Face Detector (VCD), or boxes or masks of the faces")
        if found is not None and reference is not None:
            raise ValueError("a reference needs a detector that recognises people: take the boxes and masks away")
        refined = refine_clip(
            clip,
            detector if found is None else found,
            Sampling(model, positive, negative, seed, steps, cfg, sampler_name, scheduler),
            vae,
            CropOptions(
                size,
                crop_factor,
                mask_margin=mask_factor,
                feather=feather,
                upright=upright,
                min_enlargement=min_enlargement,
            ),
            RefineOptions(
                strength, gamma, seed, window, overlap, vae.latent_channels, vae.spacial_compression_encode()
            ),
            order=faces,
            index=which,
            reference=reference,
        )
        source = "masks" if boxes is None else "boxes"
        others = {"detector": detector, "masks": None if boxes is None else masks}
        unused = [name for name, given in others.items() if given is not None]
        if found is not None and unused:
            refined.report.append(f"{' and '.join(unused)}: not looked at, because the faces come from {source}")
        report = "\n".join(refined.report)
        shown = ui.PreviewText(report).as_dict() | {"vcd_faces": [refined.timeline]}
        return io.NodeOutput(refined.clip, refined.masks, refined.crops, report, ui=shown)


NODES = [FaceVCD]
