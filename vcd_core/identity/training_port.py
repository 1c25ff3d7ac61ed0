"""What training asks of a framework, and in which words."""

from typing import Protocol

from torch import Tensor

PLACEHOLDER = "<id>"
CONTEXTS = (
    "on a beach",
    "in the snow",
    "in a forest",
    "in a desert",
    "in a city at night",
    "in a kitchen",
    "in a library",
    "on a stage",
)
"""What is said of the surroundings while a token learns to leave them alone."""


class TextConditionedDenoiser(Protocol):
    """What training asks of a framework."""

    def embed_words(self, words: str) -> Tensor:
        """The text encoder's own input vectors of these words, (k, D) float32."""

    def encode_prompt(self, prompt: str, learned: Tensor) -> Tensor:
        """Encodes a prompt in which `PLACEHOLDER` stands for the vectors `learned` (n, D); differentiable in them.

        Returns:
            (L, D_context)
        """

    def predict_noise(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        """ε of noised latents (B, 4, h, w) at timesteps (B,) given (B, L, D_context); differentiable in the last.

        `noised` is variance-preserving: √ᾱ latents + √(1 − ᾱ) noise.
        """


def subject_prompt(noun: str, opening: str = "", caption: str = "") -> str:
    """A prompt for training: `PLACEHOLDER` and noun for the subject, and what else is to be said of the picture.

    Args:
        opening: such as "very small ".
        caption: such as "on a beach".
    """
    return f"{opening}photo of a {PLACEHOLDER} {noun}" + (f", {caption}" if caption else "")


def in_context(prompt: str, context: str) -> str:
    """A prompt for training that also says where the subject is; one that has a caption stays as it is."""
    has_caption = "," in prompt.partition(PLACEHOLDER)[2]
    return f"{prompt} {context}" if context and not has_caption else prompt
