"""A narrow Stable Diffusion of all four levels, as `random_models` writes it with narrow sizes."""

import copy
import functools
from dataclasses import replace

from vcd_core.standalone import checkpoint
from vcd_core.standalone.config import ModelConfig

CONFIG = ModelConfig((32, 32, 32, 32), (True, True, True, False), 32, 2, 4, (32, 64, 128, 128))

read_once = functools.cache(functools.partial(checkpoint.load_checkpoint, config=CONFIG))


def load_narrow(path, device):
    """A narrow checkpoint's model, to be changed at will: building it anew takes longer than a training here."""
    model = read_once(path, device=device)
    return replace(model, **{part: copy.deepcopy(getattr(model, part)) for part in ("unet", "vae", "text_encoder")})
