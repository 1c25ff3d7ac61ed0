"""What nodes say to the page while they run, beyond ComfyUI's own progress bar."""

import base64
import math
import sys
import time
from collections import deque
from collections.abc import Sequence
from io import BytesIO

import torch.nn.functional as F
from comfy_execution.utils import get_executing_context
from torch import Tensor

from ...vcd_core.identity import faded
from ..convert import to_pil

CURVE_POINTS = 200
SHOWN_PHOTOS, SHOWN_SAMPLES = 8, 8
PICTURE = 96  # pixels
EVERY = 1.0  # seconds


def running_server():
    """ComfyUI's PromptServer; None where none runs, and then its module is not imported either."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def tell_page(event: str, content: dict) -> None:
    """Sends an event about the node that runs to the page that queued it; outside a running server, nothing."""
    running, host = get_executing_context(), running_server()
    if running is not None and host is not None:
        host.send_sync(f"vcd.{event}", {"node": running.node_id, **content}, host.client_id)


class TrainingNews:
    """Tells the page how a training stands: at most once a second, in some tens of kilobytes, however long it is."""

    def __init__(self, steps: int, done: int, photos: Tensor) -> None:
        """
        Args:
            steps, done: of the whole training, and before it is taken up.
            photos: (N, 4, S, S) in [0, 1], each with its mask, outside of which it is faded; the first eight are shown.
        """
        self.steps, self.done = steps, done
        self.photos = [picture_url(photo.movedim(0, -1)) for photo in faded(photos[:SHOWN_PHOTOS])]
        self.samples: deque[str] = deque(maxlen=SHOWN_SAMPLES)
        self.begun, self.told = time.monotonic(), -math.inf

    def tell(self, step: int, losses: Sequence[float], sample: Tensor | None = None) -> None:
        """
        Args:
            losses: of every step so far.
            sample: (H, W, 3) in [0, 1] if one was drawn now. Pictures are sent with it, and at the start.
        """
        now, news = time.monotonic(), {}
        if sample is not None:
            self.samples.append(picture_url(sample))
        if sample is not None or self.told < self.begun:
            news = {"photos": self.photos, "samples": list(self.samples)}
        elif now - self.told < EVERY and step < self.steps:
            return
        self.told = now
        left = (now - self.begun) / max(1, step - self.done) * (self.steps - step)
        news |= {"step": step, "steps": self.steps, "losses": curve(losses), "seconds_left": round(left)}
        tell_page("training", news)


def curve(losses: Sequence[float]) -> list[float]:
    """At most 200 of them, each the mean of those it stands for; what is no finite number is left out."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    size = max(1, math.ceil(len(finite) / CURVE_POINTS))
    parts = (finite[start : start + size] for start in range(0, len(finite), size))
    return [round(sum(part) / len(part), 5) for part in parts]


def picture_url(picture: Tensor, size: int = PICTURE) -> str:
    """(H, W, 3) in [0, 1] as a JPEG of at most so many pixels a side, in a data URL."""
    scale = min(1.0, size / max(picture.shape[:2]))
    small = picture.float().cpu().movedim(-1, 0)[None]
    if scale < 1:
        small = F.interpolate(small, scale_factor=scale, mode="bilinear", antialias=True)
    content = BytesIO()
    to_pil(small[0].movedim(0, -1).clamp(0, 1)).save(content, "JPEG", quality=80)
    return jpeg_url(content.getvalue())


def jpeg_url(content: bytes) -> str:
    """A JPEG as a data URL, "" for none."""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content else ""
