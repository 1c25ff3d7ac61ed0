"""First-order autoregressive chains over the frames of a clip, ε_t = γ ε_{t−1} + √(1 − γ²) z_t."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .choice import Backend, try_kernel

OLDEST_GPU = (7, 5)
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
BLOCK = 128
MOST_VALUES = 2**31 - 4 * BLOCK  # of a frame: places in it are int32


def ar1_step(white: Tensor, gamma: float, previous: Tensor | None) -> Tensor:
    """Makes one frame of white noise, in place, the successor of `previous`."""
    if previous is not None and gamma > 0:
        white.mul_(_innovation(gamma)).add_(previous, alpha=gamma)
    return white


def ar1_scan(
    white: Tensor,
    gamma: float,
    previous: Tensor | None = None,
    *,
    in_place: bool = False,
    backend: Backend = "auto",
) -> Tensor:
    """The chain of all frames of white noise: ε_0 = z_0, or the successor of `previous`.

    On a GPU one kernel reads and writes every value once. It rounds where PyTorch's operators round, so that the
    result is theirs.

    Args:
        white: (F, ...) z, frames first.
        gamma: γ in [0, 1].
        previous: (...) the frame before the first.
        in_place: `white` may be overwritten.
        backend: what computes; see `try_kernel`. The kernel is for contiguous float16, bfloat16 and float32.

    Returns:
        (F, ...) of the dtype of `white`.
    """
    noise = white if in_place else torch.empty_like(white)
    if gamma == 0 or white.numel() == 0:
        return white if in_place else noise.copy_(white)
    tensors = [white] if previous is None else [white, previous]
    size = white[0].numel()
    suits = (
        white.dtype in DTYPES
        and size < MOST_VALUES
        and all(x.is_contiguous() and x.device == white.device for x in tensors)
    )
    variant = ("AR(1) scan", *(x.dtype for x in tensors))

    def launch():
        from .noise_triton import ar1_kernel

        grid = (math.ceil(size / BLOCK),)
        continues = previous is not None
        return noise, ar1_kernel[grid](
            white,
            previous if continues else white,
            noise,
            len(white),
            size,
            float(gamma),
            _innovation(gamma),
            CONTINUES=continues,
            BLOCK=BLOCK,
        )

    def by_torch(chain: Tensor) -> Tensor:
        last = previous
        for frame in chain:
            last = ar1_step(frame, gamma, last)
        return chain

    made = try_kernel(launch, variant, suits, backend, OLDEST_GPU, lambda: by_torch(white.clone()), *tensors)
    if made is None:
        made = by_torch(noise if in_place else noise.copy_(white))
    return made


def philox_ar1(
    shape: Sequence[int],
    gamma: float,
    seed: int,
    *,
    first_frame: int = 0,
    previous: Tensor | None = None,
    device: torch.device | str = "cpu",
    backend: Backend = "auto",
) -> Tensor:
    """The chain over white noise that follows from the seed, the frame's number and the place in it alone.

    z comes from the counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
    3", SC 2011) and Box-Muller's transform: with n values a frame and Q = ⌈n/4⌉, word j at counter
    (i, frame, 0, 0) under the key (seed mod 2³², seed / 2³²) makes value i + jQ. On a GPU one kernel draws and chains,
    so memory sees nothing but the result. The words are the same everywhere, the normals as exact as the device's
    float32 logarithm, sine and cosine.

    Args:
        shape: (F, ...), frames first.
        gamma: γ in [0, 1].
        seed: in [0, 2⁶⁴).
        first_frame: the number of frame 0; frames are numbered in [0, 2³¹).
        previous: (...) float32, the frame before the first, to continue a chain.
        device: where the noise is drawn.
        backend: what computes; see `try_kernel`.

    Returns:
        (F, ...) float32.
    """
    noise = torch.empty(*shape, dtype=torch.float32, device=device)
    if noise.numel() == 0:
        return noise
    size = noise[0].numel()
    tensors = [noise] if previous is None else [noise, previous]
    suits = size < MOST_VALUES and all(x.is_contiguous() and x.device == noise.device for x in tensors)
    variant = ("Philox AR(1)", *(x.dtype for x in tensors))

    def launch():
        from .noise_triton import philox_ar1_kernel

        grid = (math.ceil(math.ceil(size / 4) / BLOCK),)
        continues = previous is not None
        philox_ar1_kernel[grid](
            previous if continues else noise,
            noise,
            seed,
            first_frame,
            len(noise),
            size,
            float(gamma),
            _innovation(gamma),
            CONTINUES=continues,
            BLOCK=BLOCK,
        )
        return noise, None  # its 32 bytes of stack are the sine's, for arguments far from 0, and no spilled registers

    def by_torch() -> Tensor:
        chain, last = torch.empty_like(noise), previous
        for number, frame in enumerate(chain, first_frame):
            frame.copy_(_normals(size, number, seed, noise.device).reshape(frame.shape))
            last = ar1_step(frame, gamma, last)
        return chain

    made = try_kernel(launch, variant, suits, backend, OLDEST_GPU, by_torch, *tensors)
    return by_torch() if made is None else made


def philox4x32(counter: Sequence[Tensor | int], key: Sequence[int]) -> list[Tensor | int]:
    """Four words in [0, 2³²) from a counter of four (int64 tensors or int) and a key of two, by ten rounds."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        even, odd = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # modulo 2⁶⁴ in int64, where the sign is one bit of 64
        c0, c1 = (odd >> 32 & _WORD) ^ c1 ^ k0, odd & _WORD
        c2, c3 = (even >> 32 & _WORD) ^ c3 ^ k1, even & _WORD
        k0, k1 = k0 + 0x9E3779B9 & _WORD, k1 + 0xBB67AE85 & _WORD
    return [c0, c1, c2, c3]


_WORD = 2**32 - 1


def _normals(size: int, frame: int, seed: int, device: torch.device) -> Tensor:
    """(size,) float32: the white noise of one frame."""
    counter = torch.arange(math.ceil(size / 4), device=device)
    words = philox4x32((counter, frame, 0, 0), (seed & _WORD, seed >> 32))
    halves = []
    for first, second in (words[:2], words[2:]):
        radius = ((first.float() * 2**-32 + 2**-32).log() * -2).sqrt()
        angle = second.float() * (2 * math.pi * 2**-32)
        halves += [radius * angle.cos(), radius * angle.sin()]
    return torch.cat(halves)[:size]


def _innovation(gamma: float) -> float:
    return math.sqrt(1 - gamma**2)
