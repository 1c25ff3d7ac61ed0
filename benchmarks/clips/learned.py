"""What methods learned and what models drew of a class, kept in files by what they follow from."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from benchmarks.baselines import METHODS, Lesson, Method, Tensors, class_latents, without_mask
from vcd_core.files import unfinished_file
from vcd_core.identity import Photo, Recipe, fingerprint, weights_sample
from vcd_core.standalone.model import StableDiffusion

from .plan import MARGIN, Row
from .world import World

VERSION = 1  # of pictures of a class, and of what methods learn: raise it when either would be another
VERSIONS = {"lora": 3, "dreambooth": 3, "svdiff": 3, "neti": 3}  # of methods whose own is not that one


def method_of(row: Row) -> Method:
    return METHODS[row.method](**row.settings)


def has_prior_preservation(row: Row) -> bool:
    """Whether the row's method looks at pictures of the class while it learns."""
    return getattr(method_of(row), "prior_weight", 0) > 0


def lesson_of(world: World, row: Row, subject: str) -> tuple[list[Photo], Recipe]:
    """The photos and our recipe for them; without masks nothing says where the subject ends and its place begins.

    Captions are for rows that ask for them: publications compared here learn without.
    """
    photos, recipe = world.photos(subject), world.recipe(subject)
    of_the_loop = {name: value for name, value in row.recipe.items() if name != MARGIN}
    margin = row.recipe.get(MARGIN, recipe.mask_margin)
    recipe = replace(recipe, mask_margin=margin, options=replace(recipe.options, **of_the_loop))
    if row.steps:
        recipe = replace(recipe, options=replace(recipe.options, steps=row.steps))
    if not row.captions:
        photos = [replace(photo, caption="") for photo in photos]
    if not row.masks:
        photos = [without_mask(photo) for photo in photos]
        recipe = replace(recipe, options=replace(recipe.options, context_weight=0.0))
    return photos, recipe


class Learned:
    """What was learned of each subject, in a folder.

    Args:
        class_pictures: how many a method with prior preservation looks at.
    """

    def __init__(self, world: World, folder: Path, class_pictures: int) -> None:
        self.world, self.folder, self.class_pictures = world, folder, class_pictures
        self.files: dict[tuple, Path] = {}

    def file(self, row: Row, subject: str) -> Path:
        """Where it is kept, whether it is there yet or not; rows that learn the same share a file."""
        changed = (*row.settings.items(), *row.recipe.items())
        key = (row.method, changed, row.steps, row.masks, row.captions, subject)
        if key not in self.files:
            photos, recipe = lesson_of(self.world, row, subject)
            parts = [VERSIONS.get(row.method, VERSION), method_of(row), photos, recipe, self._base()]
            if has_prior_preservation(row):
                parts.append(self.class_pictures)
            name = row.method.replace(" ", "_")
            self.files[key] = self.folder / f"{name}-{subject}-{fingerprint(*parts)}.safetensors"
        return self.files[key]

    def tensors(self, row: Row, subject: str) -> Tensors:
        """Read, or learned now; raises ValueError where they cannot be."""
        photos, recipe = lesson_of(self.world, row, subject)

        def learn() -> Tensors:
            return method_of(row).learn(self._model(), Lesson(photos, recipe, lambda: self.of_the_class(subject)))

        return _kept(self.file(row, subject), learn)

    def class_file(self, subject: str) -> Path:
        """Where pictures of the subject's class are kept, as latents, for methods with prior preservation."""
        recipe = self.world.recipe(subject)
        parts = (VERSION, recipe.noun, recipe.size, self._base(), self.class_pictures)
        return self.folder / f"class-{recipe.noun.replace(' ', '_')}-{fingerprint(*parts)}.safetensors"

    def of_the_class(self, subject: str) -> Tensor:
        """(N, 4, h, w), read, or drawn now."""
        recipe = self.world.recipe(subject)

        def draw() -> Tensors:
            return {"latents": class_latents(self._model(), recipe.noun, recipe.size, self.class_pictures)}

        return _kept(self.class_file(subject), draw)["latents"]

    def _model(self) -> StableDiffusion:
        return self.world.model(self.world.styles[0])

    def _base(self) -> list:
        model = self._model()
        return weights_sample(model.unet, model.text_encoder, model.vae)


def parameters_in(file: Path) -> int:
    """How many numbers; raises ValueError where the file is damaged."""
    with _explained(file), safe_open(file, framework="pt") as content:
        return sum(math.prod(content.get_slice(name).get_shape()) for name in content.keys())  # noqa: SIM118


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged ({error}): delete it, and it is made again") from error


def _kept(file: Path, make: Callable[[], Tensors]) -> Tensors:
    """A file's tensors; where it is not there they are made and written, whole or not at all.

    Raises:
        ValueError: it is there, but damaged; or from `make`.
    """
    if not file.exists():
        content = save({name: value.contiguous().cpu() for name, value in make().items()}, {"format": "pt"})
        with unfinished_file(file) as unfinished:
            unfinished.write_bytes(content)
    with _explained(file):
        return load_file(file)
