"""The pack's nodes: each translates between ComfyUI and one call into vcd_core."""

from comfy_api.latest import ComfyExtension, io

from . import demo, evaluate, face_vcd, faces, identity, motion, noise, segmentation, tiles, tokens, training
from .host.routes import add_routes


class VCDExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        add_routes()
        modules = (identity, segmentation, training, tokens, noise, motion, faces, face_vcd, tiles, evaluate, demo)
        return [node for module in modules for node in module.NODES]
