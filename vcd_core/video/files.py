"""Video files: all of one, or none."""

from fractions import Fraction
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import unfinished_file


def write_video(path: str | Path, frames: Tensor, fps: float) -> Path:
    """Writes a clip as H.264 (yuv420p) in an mp4 file, which every player and browser shows.

    yuv420p has one colour for 2x2 pixels, so a picture of odd height or width gets its last row or column twice.

    Args:
        frames: (F, H, W, 3) sRGB in [0, 1]; what lies outside is clamped.
        fps: frames a second; kept as an exact fraction, so 24000/1001 is possible.

    Raises:
        ValueError: no frames, another shape, numbers that are not finite, or an fps that is not positive.
    """
    import av

    path = Path(path)
    if frames.ndim != 4 or frames.shape[-1] != 3 or not frames.numel():
        raise ValueError(f"a clip must be (F, H, W, 3) with at least one frame, got {tuple(frames.shape)}")
    if not torch.isfinite(frames).all():
        raise ValueError("the clip has pixels that are not numbers: use a wider precision for the model")
    if not 0 < fps < float("inf"):
        raise ValueError(f"the frames a second must be more than 0, got {fps}")

    height, width = frames.shape[1:3]
    pixels = F.pad(frames.movedim(-1, 1), (0, width % 2, 0, height % 2), mode="replicate").movedim(1, -1)
    with unfinished_file(path) as unfinished, av.open(str(unfinished), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "16"})
        stream.height, stream.width = pixels.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in pixels:
            picture = (frame.clamp(0, 1) * 255).round().byte().cpu().numpy()
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
