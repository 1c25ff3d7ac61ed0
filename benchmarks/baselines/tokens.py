"""Methods that train token vectors alone, by the library's own loop, or nothing at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import Tensor, nn

from vcd_core.identity import Recipe, initial_vectors
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import plan, train_token

from .method import Lesson, Tensors, generator_of, without_mask

VECTORS = "clip_l"


@dataclass(frozen=True)
class Noun:
    """Nothing is learned: whom the model draws for the noun alone."""

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        return {}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        return {}

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        yield model, [f"a {noun}"]


@dataclass(frozen=True)
class Caption(Noun):
    """Nothing is learned, and nothing left out: what the model draws where words say all of the subject.

    `applied` takes the caption for the noun. Tokens are compared to what the model draws of words that it knows.
    """


@dataclass(frozen=True)
class Vcd:
    """Ours: the recipe as it is."""

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        return {VECTORS: initial_vectors(noun_vectors, recipe.token_count, generator_of(recipe))}

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        return _learned(model, lesson)

    @contextmanager
    def applied(self, model: StableDiffusion, learned: Tensors, noun: str) -> Iterator[tuple[StableDiffusion, Prompt]]:
        yield model, ["a ", learned[VECTORS], noun]


@dataclass(frozen=True)
class TextualInversion(Vcd):
    """Textual Inversion (arXiv:2208.01618): one vector, no mask, nothing that holds its norm.

    Where the paper's vector takes the place of the noun, here it stands before it as ours do, which helps it.
    """

    rate: float = 1e-2

    def start(self, unet: nn.Module, noun_vectors: Tensor, recipe: Recipe) -> Tensors:
        return super().start(unet, noun_vectors, replace(recipe, token_count=1))

    def learn(self, model: StableDiffusion, lesson: Lesson) -> Tensors:
        options = replace(
            lesson.recipe.options,
            learning_rate=self.rate,
            weight_decay=0.0,
            hold_norm=False,
            context_weight=0.0,
            noise_offset=0.0,
            decay=0.0,
        )
        recipe = replace(lesson.recipe, token_count=1, augmentation=None, mask_margin=0.0, options=options)
        photos = [without_mask(photo) for photo in lesson.photos]
        return _learned(model, replace(lesson, photos=photos, recipe=recipe))


def _learned(model: StableDiffusion, lesson: Lesson) -> Tensors:
    return {VECTORS: train_token(model, plan(model, lesson.photos, lesson.recipe)).vectors.cpu()}
