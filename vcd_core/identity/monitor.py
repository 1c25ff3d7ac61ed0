"""What to look at while a token is trained."""

import torch
from torch import Tensor

from ..sampling import DiscreteSchedule, classifier_free_guidance, euler, normal_sigmas, start_latents
from .training_port import PLACEHOLDER, TextConditionedDenoiser, subject_prompt


@torch.no_grad()
def sample_latents(
    model: TextConditionedDenoiser,
    schedule: DiscreteSchedule,
    noun: str,
    vectors: Tensor,
    size: int,
    *,
    seed: int = 0,
    steps: int = 12,
    cfg: float = 7.0,
) -> Tensor:
    """A picture of the subject as the vectors stand, drawn by the very encoder and UNet that train.

    Args:
        vectors: (n, D).
        size: of the picture in pixels, a multiple of 8.
        seed: of the noise; the same at every call shows how the token changes.

    Returns:
        (1, 4, size / 8, size / 8) scaled latents, for the VAE.
    """
    prompt = subject_prompt(noun)
    contexts = model.encode_prompt(prompt, vectors), model.encode_prompt("", vectors)

    def denoiser(context: Tensor):
        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            timestep = schedule.timestep(sigma).to(x.device).expand(len(x))
            return x - sigma * model.predict_noise(x / (1 + sigma**2).sqrt(), timestep, context[None])

        return denoise

    noise = torch.randn(1, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(seed))
    sigmas = normal_sigmas(schedule, steps).to(vectors.device)
    guided = classifier_free_guidance(*map(denoiser, contexts), cfg)
    return euler(guided, start_latents(noise.to(vectors.device), sigmas[0]), sigmas)


@torch.no_grad()
def noun_noise(model: TextConditionedDenoiser, schedule: DiscreteSchedule, noun: str, latents: Tensor) -> Tensor:
    """What the model makes of the noun alone: its ε (B, 4, h, w) for latents with fixed noise, at middle levels.

    A token must leave this as it was: the class noun still has to make ordinary people.
    """
    generator = torch.Generator().manual_seed(0)
    sigmas = schedule.sigmas.to(latents.device)
    timesteps = torch.linspace(0.3, 0.7, len(latents)).mul(len(sigmas)).long().to(latents.device)
    sigma = sigmas[timesteps].view(-1, 1, 1, 1)
    noised = (latents + sigma * torch.randn(latents.shape, generator=generator).to(latents)) / (1 + sigma**2).sqrt()
    own_words = model.embed_words(noun).to(latents.device)
    context = model.encode_prompt(f"photo of a {PLACEHOLDER}", own_words)
    return model.predict_noise(noised, timesteps, context.expand(len(latents), -1, -1))
