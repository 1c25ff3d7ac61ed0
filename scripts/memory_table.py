"""How much of a GPU's memory Stable Diffusion 1.5 with a motion module takes: `python scripts/memory_table.py`.

Every step is traced with tensors that have a shape but no content, so no GPU and no weights are needed.
Told is the most that is alive at any moment, in half precision, with attention that does not keep its matrix (PyTorch's
own). What a driver and its libraries keep for themselves, commonly 0.5 to 1 GiB, comes on top.
"""

import sys
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

sys.path.append(str(Path(__file__).parents[1]))

from vcd_core.motion import MotionConfig, MotionModule, transformer  # noqa: E402
from vcd_core.standalone.checkpoint import VAE_FACTOR  # noqa: E402
from vcd_core.standalone.config import PROMPT_LENGTH, SD15  # noqa: E402
from vcd_core.standalone.motion import inserted_motion  # noqa: E402

# Prompt and negative at once are traced as one clip twice as long, which takes as much.
ANIMATEDIFF_V3 = MotionConfig(SD15.channels, (2, 2, 2, 2), (3, 3, 3, 3), mid_block=False, max_frames=64)
CLIPS = ((512, 16), (512, 24), (512, 32), (768, 16), (768, 32), (1024, 16))  # pixels a side, frames
TRAININGS = ((512, 1), (512, 4))  # pixels a side, batch
PICTURES = (512, 768, 1024)


class Peak(TorchDispatchMode):
    """The most bytes of what operations made that were alive at once; `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, made)
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, key)
            self.peak = max(self.peak, sum(self.alive.values()))


def gib(size: int) -> str:
    return f"{size / 2**30:.1f}"


def size_of(*modules: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for module in modules for one in module.state_dict().values())


def peak_of(work: Callable[[], object]) -> int:
    with Peak() as memory:
        work()
    return memory.peak


def latents(batch: int, side: int) -> Tensor:
    return torch.empty(batch, 4, side // VAE_FACTOR, side // VAE_FACTOR)


def prompts(batch: int) -> Tensor:
    return torch.empty(batch, PROMPT_LENGTH, SD15.text_width)


def step(unet: nn.Module, motion: MotionModule | None, batch: int, side: int, *, learn: bool = False) -> int:
    """Of one answer of the UNet, and of the way back to its prompts where they are learned."""
    context = prompts(batch).requires_grad_(learn)

    def work() -> None:
        noise = unet(latents(batch, side), torch.empty(batch), context).sample
        if learn:
            noise.float().square().mean().backward()

    with inserted_motion(unet, motion) if motion is not None else nullcontext(), torch.set_grad_enabled(learn):
        return peak_of(work)


def of_a_clip(unet: nn.Module, motion: MotionModule, side: int, frames: int) -> tuple[str, ...]:
    weight = size_of(unet, motion)
    peaks = (step(unet, motion, count * frames, side) for count in (1, 2))
    return f"{side}x{side}, {frames} frames", *(gib(weight + peak) for peak in peaks)


def of_a_training(unet: nn.Module, text: int, side: int, batch: int) -> tuple[str, ...]:
    """With activations worked out again for the way back, and with all of them kept."""
    weight = size_of(unet) + text
    unet.train()  # diffusers works out again in training mode only
    unet.enable_gradient_checkpointing()
    saved = step(unet, None, batch, side, learn=True)
    unet.disable_gradient_checkpointing()
    kept = step(unet, None, batch, side, learn=True)
    return f"{side}x{side}, batch {batch}", gib(weight + saved), gib(weight + kept)


def decoding(vae: nn.Module, side: int) -> int:
    with torch.no_grad():
        return peak_of(lambda: vae.decode(latents(1, side)).sample)


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.set_default_dtype(torch.half)
    transformer.CHUNK_BYTES_CPU = transformer.CHUNK_BYTES  # as on a GPU
    with FakeTensorMode(allow_non_fake_inputs=True):
        unet = UNet2DConditionModel(**SD15.unet()).eval().requires_grad_(False)
        motion = MotionModule(ANIMATEDIFF_V3).eval().requires_grad_(False)
        text = CLIPTextModel(CLIPTextConfig(**SD15.text_encoder()))
        vae = AutoencoderKL(**SD15.vae()).eval().requires_grad_(False)
        parts = {"UNet": unet, "motion module": motion, "text encoder": text, "VAE": vae}
        weights = [(name, gib(size_of(part))) for name, part in parts.items()]
        clips = [of_a_clip(unet, motion, side, frames) for side, frames in CLIPS]
        pictures = [(f"{side}x{side}", gib(size_of(vae) + decoding(vae, side))) for side in PICTURES]
        tokens = [of_a_training(unet, size_of(text), side, batch) for side, batch in TRAININGS]
    tables = (
        table(("weights", "GiB"), weights),
        table(("a clip", "prompt and negative in turn, GiB", "both at once, GiB"), clips),
        table(("an ID token", "save_memory, GiB", "without, GiB"), tokens),
        table(("decoding, a frame at a time", "GiB"), pictures),
    )
    sys.stdout.write("\n\n".join(tables) + "\n")


if __name__ == "__main__":
    main()
