"""Motion: what turns a batch of images into a clip."""

from comfy_api.latest import io

from .host.folders import MOTION_LORAS, MOTION_MODULES, check_model_file, model_files, model_path
from .host.motion import add_motion_lora, add_motion_module


class LoadMotionModule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadMotionModule",
            display_name="Load Motion Module (VCD)",
            category="VCD/motion",
            description="Adds an AnimateDiff motion module (v2 or v3) to a Stable Diffusion 1.5 model of any style, so "
            "that the frames of a batch move as one clip.",
            inputs=[
                io.Model.Input("model", tooltip="A model of the Stable Diffusion 1.5 family, with or without LoRA."),
                io.Combo.Input(
                    "motion_module",
                    options=model_files(MOTION_MODULES),
                    tooltip="A file in models/animatediff_models, .safetensors or .ckpt.",
                ),
                io.Combo.Input(
                    "noise_schedule",
                    options=["AnimateDiff", "checkpoint"],
                    default="AnimateDiff",
                    tooltip="AnimateDiff: the noise levels the motion module was trained on. checkpoint: leave the "
                    "checkpoint's own, for more contrast and less stable motion.",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, motion_module: str) -> bool | str:
        return check_model_file(MOTION_MODULES, motion_module, "motion module")

    @classmethod
    def execute(cls, model, motion_module: str, noise_schedule: str) -> io.NodeOutput:
        path = model_path(MOTION_MODULES, motion_module)
        return io.NodeOutput(add_motion_module(model, path, own_schedule=noise_schedule == "AnimateDiff"))


class LoadMotionLoRA(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadMotionLoRA",
            display_name="Load Motion LoRA (VCD)",
            category="VCD/motion",
            description="Changes how the motion module moves the camera, for example zoom or pan. Several can follow "
            "each other.",
            inputs=[
                io.Model.Input("model", tooltip="A model with a motion module: from Load Motion Module (VCD)."),
                io.Combo.Input(
                    "motion_lora",
                    options=model_files(MOTION_LORAS),
                    tooltip="A file in models/animatediff_motion_lora, made for the motion module in use.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=-10.0,
                    max=10.0,
                    step=0.05,
                    tooltip="How strongly it acts. 0.6-1 is usual, 0 is without it.",
                ),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, motion_lora: str) -> bool | str:
        return check_model_file(MOTION_LORAS, motion_lora, "motion LoRA")

    @classmethod
    def execute(cls, model, motion_lora: str, strength: float) -> io.NodeOutput:
        return io.NodeOutput(add_motion_lora(model, model_path(MOTION_LORAS, motion_lora), strength))


NODES = [LoadMotionModule, LoadMotionLoRA]
