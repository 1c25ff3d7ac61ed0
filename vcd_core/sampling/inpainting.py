"""Denoising of a part of a clip, the rest being known."""

from torch import Tensor

from .guidance import Denoise


def inpainting(denoise: Denoise, latents: Tensor, noise: Tensor, mask: Tensor) -> Denoise:
    """A denoiser that draws anew where the mask is 1 and knows the clip where it is 0.

    At every σ the model sees the known part as the clip with its own noise, latents + σ noise, so that the new part is
    drawn to suit it; of its answer x0 the known part is the clip itself. Between 0 and 1 both are mixed (ComfyUI's
    noise mask).

    Args:
        latents: (F, C, h, w) the clip.
        noise: of that shape; what the sampler starts with.
        mask: (F, 1, h, w) in [0, 1].
    """

    def denoise_part(x: Tensor, sigma: Tensor) -> Tensor:
        x0 = denoise(mask * x + (1 - mask) * (latents + sigma * noise), sigma)
        return mask * x0 + (1 - mask) * latents

    return denoise_part
