"""Masks for photos from a prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..vision import Finding, NoSubject, Segmenter, SeveralSubjects, draw_findings
from .photos import FAINT, Photo


@dataclass(frozen=True)
class SegmentedPhoto:
    """What became of one photo.

    Attributes:
        photo: with its mask, if one was found or it had one.
        found: everything in it that the prompt may mean, best score first; nothing is looked for in a photo that has
            a mask.
        chosen: the one of them that the mask is of.
        problem: why the photo has no mask; "" if it has one.
    """

    photo: Photo
    found: tuple[Finding, ...] = ()
    chosen: Finding | None = None
    problem: str = ""

    def picture(self) -> Tensor:
        """(512, 512, 3) in [0, 1], the photo with mask, boxes and scores drawn on it, and its name."""
        caption = f"{self.photo.name}: {self.problem}" if self.problem else self.photo.name
        return draw_findings(self.photo.image, self.found, self.chosen, self.photo.mask, caption)


def segment_photos(photos: Sequence[Photo], segmenter: Segmenter, prompt: str) -> Iterator[SegmentedPhoto]:
    """Cuts the subject out of each photo and yields them one by one, in order.

    A mask that a photo has already is kept, because a person made it; an empty one counts as none. A photo in which
    nothing is found comes back with a `problem`, and the others go on.

    Raises:
        SeveralSubjects: after the last photo, if some have several subjects and the segmenter does not choose.
        NoSubject: after the last photo, if nothing was found in any.
        ValueError: there are no photos, or the prompt is empty.
    """
    if not photos:
        raise ValueError("there are no photos to segment: give 5-10 photos of one subject")
    usable, several, problems = 0, [], []
    for photo in photos:
        if photo.mask is not None and photo.mask.max() >= FAINT:
            result = SegmentedPhoto(photo)
        else:
            try:
                segmentation = segmenter.segment(photo.image, prompt)
            except NoSubject as error:
                result = SegmentedPhoto(replace(photo, mask=None), error.found, problem=str(error))
                if isinstance(error, SeveralSubjects):
                    several.append(result)
            else:
                masked = replace(photo, mask=segmentation.mask)
                result = SegmentedPhoto(masked, segmentation.found, segmentation.chosen)
        usable += not result.problem
        if result.problem:
            problems.append(f"{photo.name}: {result.problem}")
        yield result

    if several:
        raise SeveralSubjects(
            f"there are several subjects in {', '.join(result.photo.name for result in several)}: draw masks for these "
            'photos, crop them, raise the box threshold, or let "best score" or "largest" choose',
            tuple(finding for result in several for finding in result.found),
            torch.cat([result.picture() for result in several], dim=1),
        )
    if not usable:
        raise NoSubject(
            f"{prompt.strip()!r} was not found in any of the {len(photos)} photos: name the subject in other words "
            "(person, cat, teapot), lower the box threshold, or draw masks\n" + "\n".join(problems)
        )
