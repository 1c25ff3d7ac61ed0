"""A model whose best token is known, and trainings of it."""

import math

import torch

from vcd_core.identity import PLACEHOLDER, Examples, train_id_token
from vcd_core.sampling import DiscreteSchedule

WIDTH = 6
SCHEDULE = DiscreteSchedule.from_betas("scaled_linear")


class LinearModel:
    """Predicts the noise as a linear function of the mean token; the best token is known."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(WIDTH, 4, generator=generator).requires_grad_()
        self.prompts = []
        self.broken_after = math.inf

    def embed_words(self, words):
        return torch.ones(1, WIDTH)

    def encode_prompt(self, prompt, learned):
        assert PLACEHOLDER in prompt
        self.prompts.append(prompt)
        return learned

    def predict_noise(self, noised, timesteps, context):
        self.broken_after -= 1
        if self.broken_after < 0:
            return noised * math.nan
        shift = (context.mean(dim=1) @ self.weight.detach())[:, :, None, None]
        return noised + shift


class Remembering(LinearModel):
    """Keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = []

    def predict_noise(self, noised, timesteps, context):
        self.asked.append((noised, timesteps))
        return super().predict_noise(noised, timesteps, context)


def examples(pictures=3, masks=None, seed=3):
    latents = torch.randn(pictures, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    masks = torch.ones(pictures, 1, 8, 8) if masks is None else masks
    return Examples(latents, masks, [f"photo of a {PLACEHOLDER} woman, {i}" for i in range(pictures)])


def train(model, options, pictures=3, initial=None, masks=None, **more):
    initial = torch.full((4, WIDTH), 2.0) if initial is None else initial
    return train_id_token(model, SCHEDULE, examples(pictures, masks), initial, options, **more)
