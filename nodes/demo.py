"""The model that comes with the pack."""

from comfy_api.latest import io

from ..vcd_core.standalone.weights_folder import manifest_fingerprint
from .host import demo as host

STYLES = ["soft", "ink"]


class DemoModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_DemoModel",
            display_name="Demo Model (VCD)",
            category="VCD/demo",
            description="A small model that comes with the pack, with its motion module: it draws simple characters at "
            "128x128 in seconds, on any computer. It takes the place of a checkpoint loader.",
            inputs=[
                io.Combo.Input(
                    "style",
                    options=STYLES,
                    default=STYLES[0],
                    tooltip="soft: the model as it was trained. ink: with a LoRA for another style, to see that an ID "
                    "token keeps working.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Model.Output(display_name="model_with_motion"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, **_) -> str:
        return manifest_fingerprint(host.WEIGHTS)

    @classmethod
    def execute(cls, style: str) -> io.NodeOutput:
        return io.NodeOutput(*host.load_demo(host.WEIGHTS, styled=style == "ink"))


NODES = [DemoModel]
