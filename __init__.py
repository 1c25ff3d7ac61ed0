"""ComfyUI-VCD: identity videos from 5-10 photos, as ComfyUI nodes."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """What ComfyUI calls; nothing is imported before it does."""
    from .nodes import VCDExtension

    return VCDExtension()
