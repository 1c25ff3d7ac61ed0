"""Ways to teach a model a subject, behind one interface.

method             the interface, and what every method learns from
fitting            the loop of those that have their own
changes            weights of a UNet that are other ones for a while
tokens             ours, Textual Inversion, the noun alone, and a caption of all
custom_diffusion   a token, and what cross-attention makes of words
dreambooth         the whole UNet
lora               low-rank changes of its attention, by peft
svdiff             shifts of its weights' singular values
neti               a network that gives a token for every noise level and layer
sizes              how much each trains and stores

All learn from the same photos, as they are and mirrored, in the recipe's number of steps and size of batch; each has a
learning rate of its own. Methods with prior preservation see as many pictures of the class again in every step.
"""

from .custom_diffusion import CustomDiffusion
from .dreambooth import DreamBooth
from .lora import Lora
from .method import Lesson, Method, Tensors, class_latents, without_mask
from .neti import Neti
from .svdiff import SVDiff
from .tokens import Caption, Noun, TextualInversion, Vcd

METHODS: dict[str, type] = {
    "noun": Noun,
    "caption": Caption,
    "vcd": Vcd,
    "textual inversion": TextualInversion,
    "lora": Lora,
    "custom diffusion": CustomDiffusion,
    "dreambooth": DreamBooth,
    "svdiff": SVDiff,
    "neti": Neti,
}

__all__ = [
    "METHODS",
    "Caption",
    "CustomDiffusion",
    "DreamBooth",
    "Lesson",
    "Lora",
    "Method",
    "Neti",
    "Noun",
    "SVDiff",
    "Tensors",
    "TextualInversion",
    "Vcd",
    "class_latents",
    "without_mask",
]
