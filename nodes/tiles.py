"""Large pictures and long clips, in parts."""

from comfy_api.latest import io

from ..vcd_core.tiles import Cut
from .host.sampling import Sampling
from .host.tiles import Parts, in_parts
from .host.upscaling import TileSizes, enlarge_and_refine
from .noise import GAMMA, sampling_inputs

WHOLE = Cut()


def window_inputs() -> list[io.Input]:
    """Frames that are drawn together, and what two windows share."""
    return [
        io.Int.Input(
            "window",
            default=16,
            min=1,
            max=1024,
            tooltip="Frames drawn together: what the motion module likes, 16 for AnimateDiff.",
        ),
        io.Int.Input(
            "window_overlap",
            default=4,
            min=0,
            max=1023,
            tooltip="Frames that two windows share at least, in which one fades into the next at every step.",
        ),
    ]


class ContextWindows(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_ContextWindows",
            display_name="Context Windows (VCD)",
            category="VCD/motion",
            description="Lets a clip be longer than its motion module knows: at every step it is denoised in windows "
            "that overlap and are blended. Works with every sampler; ControlNets see the frames of their window.",
            inputs=[
                io.Model.Input("model", tooltip="A model with a motion module."),
                *window_inputs(),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model, window: int, window_overlap: int) -> io.NodeOutput:
        if window_overlap >= window:
            raise ValueError(f"windows of {window} frames cannot overlap by {window_overlap}: lower window_overlap")
        return io.NodeOutput(in_parts(model, Parts(Cut(window, window_overlap), WHOLE, WHOLE)))


class TiledVCD(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_TiledVCD",
            display_name="Tiled VCD (VCD)",
            category="VCD/tiles",
            description="Enlarges a clip and draws its detail anew, in tiles that agree: they share one canvas of "
            "noise and are blended at every step, so no seam is left to hide. ControlNets see the part of their hint "
            "that belongs to each tile.",
            inputs=[
                io.Image.Input("clip", tooltip="The frames of a clip, from any source."),
                io.Model.Input("model", tooltip="Draws the detail; with a motion module, so that it moves as one."),
                io.Vae.Input("vae", tooltip="The VAE of that model."),
                io.Conditioning.Input(
                    "positive", tooltip="What the clip shows, with embedding:NAME and the noun; with a ControlNet Tile."
                ),
                io.Conditioning.Input("negative", tooltip="What it must not show."),
                *sampling_inputs(sampler="euler", scheduler="normal"),
                io.Float.Input(
                    "upscale_by",
                    default=2.0,
                    min=1.0,
                    max=8.0,
                    step=0.05,
                    tooltip="How much larger the picture becomes. 2 is the published workflow's.",
                ),
                io.Float.Input(
                    "strength",
                    default=0.2,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="How much is drawn anew. 0.2 is the published workflow's; 0.3-0.5 wants a ControlNet Tile. "
                    "0 only enlarges.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.1,
                    **GAMMA,
                    tooltip="How much of a frame's noise the next one repeats. 0.1-0.2 calms the detail.",
                ),
                io.Int.Input(
                    "tile",
                    default=512,
                    min=64,
                    max=4096,
                    step=8,
                    tooltip="Pixels of a tile's side: what the model likes, 512 for Stable Diffusion 1.5. It sets the "
                    "memory that is needed, whatever the size of the picture.",
                ),
                io.Int.Input(
                    "overlap",
                    default=64,
                    min=0,
                    max=2048,
                    step=8,
                    tooltip="Pixels that two tiles share at least, in which one fades into the next.",
                ),
                *window_inputs(),
                io.UpscaleModel.Input(
                    "upscale_model",
                    optional=True,
                    tooltip="Enlarges first, from Load Upscale Model. Without it the picture is resized (Lanczos).",
                ),
            ],
            outputs=[io.Image.Output(display_name="clip")],
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
        upscale_by: float,
        strength: float,
        gamma: float,
        tile: int,
        overlap: int,
        window: int,
        window_overlap: int,
        upscale_model=None,
    ) -> io.NodeOutput:
        refined = enlarge_and_refine(
            clip,
            Sampling(model, positive, negative, seed, steps, cfg, sampler_name, scheduler),
            vae,
            TileSizes(tile, overlap, window, window_overlap),
            upscale_by=upscale_by,
            strength=strength,
            gamma=gamma,
            upscaler=upscale_model,
        )
        return io.NodeOutput(refined)


NODES = [ContextWindows, TiledVCD]
