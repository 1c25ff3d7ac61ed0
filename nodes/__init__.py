"""The pack's nodes: each translates between ComfyUI and one call into vcd_core."""

from comfy_api.latest import ComfyExtension, io

from . import demo, identity, motion, noise, segmentation


class VCDExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [*identity.NODES, *segmentation.NODES, *noise.NODES, *motion.NODES, *demo.NODES]
