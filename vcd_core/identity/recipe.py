"""From photos and a noun to all that the training loop takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .augmentation import Augmentation, Views, draw_views
from .checkpoint import fingerprint
from .photos import Photo, cropped, usable_photos
from .training import Examples, TextConditionedDenoiser, TrainingOptions, initial_vectors, subject_prompt

RARE_WORDS = "ktn pll ucd"
LEAST_PHOTOS = 4


@dataclass(frozen=True)
class Recipe:
    """How a token is made of photos.

    Attributes:
        noun: the class the subject belongs to, such as "woman" or "cat".
        size: of the pictures, in pixels.
        token_count: n, vectors that stand for the subject.
        initial_words: their embeddings are what the vectors begin as; "" for the noun's. `RARE_WORDS` mean nothing.
        augmentation: None for the photos as they are and mirrored.
        early_stop: hold the last photo out where there are four or more, use the vectors that fit it best, and stop
            when they no longer do; `options.patience` says how soon.
        options: of the loop.
    """

    noun: str
    size: int = 512
    token_count: int = 4
    initial_words: str = ""
    augmentation: Augmentation | None = Augmentation()
    early_stop: bool = False
    options: TrainingOptions = TrainingOptions()

    def __post_init__(self) -> None:
        if not self.noun.strip():
            raise ValueError("the noun is empty: give a word for what the subject is, such as woman or cat")


@dataclass(frozen=True)
class Preparation:
    """What training begins with.

    Attributes:
        examples: to train on.
        held_out: to look at only, if early stopping is on.
        initial: (n, D) the first vectors.
        settings: fingerprint of everything that the result follows from.
        shown: (N, 4, S, S) in [0, 1] the photos as they are cropped and, last, their masks, for a preview.
        remarks: for the user: photos left out, photos without a mask.
    """

    examples: Examples
    held_out: Examples | None
    initial: Tensor
    settings: str
    shown: Tensor
    remarks: list[str]


def prepare(
    recipe: Recipe,
    photos: Sequence[Photo],
    model: TextConditionedDenoiser,
    encode: Callable[[Tensor], Tensor],
    base: Sequence[object],
) -> Preparation:
    """Draws the views, encodes them once, and chooses the first vectors.

    Args:
        encode: pictures (N, 3, S, S) in [-1, 1] -> scaled latents (N, 4, S/8, S/8).
        base: what tells this model from others, such as a name and a tensor of its weights.

    Raises:
        ValueError: no photo can be trained on.
    """
    usable, remarks = usable_photos(photos)
    generator = torch.Generator().manual_seed(recipe.options.seed)
    initial = initial_vectors(
        model.embed_words(recipe.initial_words.strip() or recipe.noun), recipe.token_count, generator
    )
    held_out = None
    trained = usable
    if recipe.early_stop and len(usable) >= LEAST_PHOTOS:
        trained, seen = usable[:-1], draw_views(usable[-1:], recipe.size, None, generator)
        held_out = _examples(recipe, seen, encode)
        remarks.append(f"{usable[-1].name} is held out to see when to stop")
    elif recipe.early_stop:
        remarks.append(f"no photo is held out, because there are only {len(usable)}: training takes all its steps")
    views = draw_views(trained, recipe.size, recipe.augmentation, generator)
    return Preparation(
        _examples(recipe, views, encode),
        held_out,
        initial,
        fingerprint(recipe, usable, initial, base),
        torch.stack([cropped(photo, recipe.size) for photo in usable]),
        remarks,
    )


def _examples(recipe: Recipe, views: Views, encode: Callable[[Tensor], Tensor]) -> Examples:
    prompts = [
        subject_prompt(recipe.noun.strip(), words, photo.caption)
        for words, photo in zip(views.words, views.photos, strict=True)
    ]
    return Examples(encode(views.images), views.masks, prompts)
