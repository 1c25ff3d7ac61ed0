"""Socket types that ComfyUI does not have."""

from comfy_api.latest import io

Photos = io.Custom("VCD_PHOTOS")
"""list[vcd_core.identity.Photo]"""

IDTokenSocket = io.Custom("VCD_TOKEN")
"""vcd_core.identity.IDToken"""

LossMap = io.Custom("LOSS_MAP")
"""{"loss": [float, ...]}, what ComfyUI's own training nodes hand to its loss graph."""
