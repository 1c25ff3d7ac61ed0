"""Socket types that ComfyUI does not have."""

from comfy_api.latest import io

Photos = io.Custom("VCD_PHOTOS")
"""list[vcd_core.identity.Photo]"""

IDTokenSocket = io.Custom("VCD_TOKEN")
"""vcd_core.identity.IDToken"""

FaceDetectorSocket = io.Custom("VCD_FACE_DETECTOR")
"""vcd_core.vision.FaceDetector"""

FaceBoxes = io.Custom("BOUNDING_BOX")
"""Newer hosts' own: {"x", "y", "width", "height", perhaps "score"} in pixels, or lists of these for every frame."""

LossMap = io.Custom("LOSS_MAP")
"""{"loss": [float, ...]}, what ComfyUI's own training nodes hand to its loss graph."""
