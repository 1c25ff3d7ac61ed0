"""From photos and a noun to all that the training loop takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import Augmentation, draw_views
from .checkpoint import fingerprint
from .photos import Photo, cropped, usable_photos
from .training import initial_vectors
from .training_port import PLACEHOLDER, TextConditionedDenoiser, in_context, subject_prompt
from .training_state import Examples, TrainingOptions

RARE_WORDS = "ktn pll ucd"
LEAST_PHOTOS = 4
VERSION = 2  # of what a step draws and a state holds: raise it when a training would end elsewhere


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
        mask_margin: by how much masks grow to every side, in parts of the crop's; those of cut-outs stay. What lies
            just beyond the subject says where it ends: how short hair is, that there is no hat. 0: the paper's masks.
    """

    noun: str
    size: int = 512
    token_count: int = 4
    initial_words: str = ""
    augmentation: Augmentation | None = Augmentation()
    early_stop: bool = False
    options: TrainingOptions = TrainingOptions()
    mask_margin: float = 0.0

    def __post_init__(self) -> None:
        if not self.noun.strip():
            raise ValueError("the noun is empty: give a word for what the subject is, such as woman or cat")
        if "," in self.noun:
            raise ValueError(f"the noun {self.noun!r} has a comma: give a word or two, and say the rest in captions")
        _check_words("the noun", self.noun)
        _check_words("the initial words", self.initial_words)
        if not 0 <= self.mask_margin <= 0.5:
            raise ValueError(f"mask_margin must lie in [0, 0.5] of a picture's side, got {self.mask_margin}")


@dataclass(frozen=True)
class TrainingPlan:
    """What is decided before anything is encoded.

    Attributes:
        photos: to train on.
        held_out: to look at only, if early stopping is on.
        initial: (n, D) the first vectors.
        settings: fingerprint of everything that the result follows from.
        remarks: for the user: photos left out, photos without a mask.
    """

    recipe: Recipe
    photos: list[Photo]
    held_out: list[Photo]
    initial: Tensor
    settings: str
    remarks: list[str]

    def shown(self) -> Tensor:
        """(N, 4, S, S) in [0, 1], the photos as they are cropped and, last, their masks, for a preview."""
        shown = [*self.photos, *self.held_out]
        return torch.stack([cropped(photo, self.recipe.size, self.recipe.mask_margin) for photo in shown])


def plan_training(
    recipe: Recipe, photos: Sequence[Photo], model: TextConditionedDenoiser, base: Sequence[object]
) -> TrainingPlan:
    """Chooses photos and first vectors, and checks what can be checked at once.

    Args:
        base: what tells this model, its VAE and its noise levels from others: names, numbers, `weights_sample`.

    Raises:
        ValueError: no photo can be trained on, or a caption is too long or names an embedding.
    """
    usable, remarks = usable_photos(photos)
    for photo in usable:
        _check_words(f"the caption of {photo.name}", photo.caption)
    words = recipe.initial_words.strip() or recipe.noun
    generator = torch.Generator().manual_seed(recipe.options.seed)
    initial = initial_vectors(model.embed_words(words), recipe.token_count, generator)
    held_out = []
    if recipe.early_stop and len(usable) >= LEAST_PHOTOS:
        usable, held_out = usable[:-1], usable[-1:]
        remarks.append(f"{held_out[0].name} is held out to see when to stop")
    elif recipe.early_stop:
        remarks.append(f"no photo is held out, because there are only {len(usable)}: training takes all its steps")
    how = recipe.augmentation
    openings = ("", *how.far_words, *how.near_words) if how else ("",)
    contexts = recipe.options.contexts if recipe.options.context_weight > 0 else ("",)
    prompts = {_prompt(recipe, words, photo): photo for photo in [*usable, *held_out] for words in openings}
    with torch.no_grad():
        for prompt, photo in prompts.items():
            _check_prompts(model, [in_context(prompt, context) for context in contexts], initial, photo)
    settings = fingerprint(VERSION, recipe, usable, held_out, initial, base)
    return TrainingPlan(recipe, usable, held_out, initial, settings, remarks)


def encode_examples(plan: TrainingPlan, encode: Callable[[Tensor], Tensor]) -> tuple[Examples, Examples | None]:
    """Draws the views photo by photo and encodes them once: to train on, and those held out.

    Args:
        encode: pictures (N, 3, S, S) in [-1, 1] -> scaled latents (N, 4, S/8, S/8).
    """
    seed = plan.recipe.options.seed
    trained = _examples(plan.recipe, plan.photos, plan.recipe.augmentation, seed, encode)
    return trained, _examples(plan.recipe, plan.held_out, None, seed, encode) if plan.held_out else None


def _examples(
    recipe: Recipe,
    photos: Sequence[Photo],
    augmentation: Augmentation | None,
    seed: int,
    encode: Callable[[Tensor], Tensor],
) -> Examples:
    latents, masks, prompts = [], [], []
    generator = torch.Generator().manual_seed(seed)
    for photo in photos:
        views = draw_views([photo], recipe.size, augmentation, generator, recipe.mask_margin)
        latents.append(encode(views.images))
        masks.append(F.interpolate(views.masks, latents[-1].shape[-2:], mode="area"))
        prompts += [_prompt(recipe, words, photo) for words in views.words]
    return Examples(torch.cat(latents), torch.cat(masks).to(latents[0].device), prompts)


def _check_prompts(model: TextConditionedDenoiser, prompts: Sequence[str], initial: Tensor, photo: Photo) -> None:
    try:
        for prompt in dict.fromkeys(prompts):
            model.encode_prompt(prompt, initial)
    except ValueError as error:
        raise ValueError(f"the caption of {photo.name}: {error}" if photo.caption else str(error)) from error


def _check_words(what: str, words: str) -> None:
    """Raises ValueError for what frameworks do not read as words: each makes something else of it, or nothing."""
    if found := next((sign for sign in ("embedding:", PLACEHOLDER) if sign in words), None):
        raise ValueError(f"{what}, {words!r}, has {found!r} in it: training takes ordinary words only, take it out")


def _prompt(recipe: Recipe, opening: str, photo: Photo) -> str:
    return subject_prompt(recipe.noun.strip(), opening, photo.caption)
