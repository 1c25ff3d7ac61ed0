"""The photos of a subject get their masks: one that is drawn is kept, and what is not found is named."""

from itertools import islice

import pytest
import torch

from vcd_core.identity import Photo, segment_photos
from vcd_core.vision import Finding, NoSubject, Segmentation, SeveralSubjects, draw_findings


class Scripted:
    """A Segmenter that knows a photo by its first pixel: how many subjects it finds there."""

    def __init__(self, choice="best score"):
        self.seen, self.choice = [], choice

    def segment(self, image, prompt):
        self.seen.append(round(image[0, 0, 0].item()))
        found = tuple(Finding((0.0, 0.0, 4.0 + i, 6.0), 0.9 - i / 10, prompt) for i in range(self.seen[-1]))
        if not found:
            raise NoSubject("nothing in it")
        if len(found) > 1 and self.choice == "refuse if several":
            raise SeveralSubjects("several", found, draw_findings(image, found))
        mask = torch.zeros(image.shape[:2])
        mask[:6, :4] = 1
        return Segmentation(mask, found[0], found)


def photo(name, subjects, mask=None):
    return Photo(name, torch.full((10, 8, 3), float(subjects)), mask, caption=f"of {name}")


def test_a_drawn_mask_is_kept_and_what_is_not_found_is_named_while_the_rest_goes_on():
    drawn = torch.zeros(10, 8)
    drawn[9, 7] = 0.5
    haze = torch.full((10, 8), 1 / 255)  # of which training would say that it is empty
    photos = [photo("a", 1), photo("b", 0), photo("c", 2, drawn), photo("d", 3, haze), photo("e", 0)]
    segmenter = Scripted()
    results = list(segment_photos(photos, segmenter, "cat"))
    assert segmenter.seen == [1, 0, 3, 0]  # c is not looked at
    assert [result.photo.name for result in results] == list("abcde")
    assert [result.photo.caption for result in results] == [f"of {name}" for name in "abcde"]
    assert [result.problem for result in results] == ["", "nothing in it", "", "", "nothing in it"]
    assert [len(result.found) for result in results] == [1, 0, 0, 3, 0]
    assert torch.equal(results[2].photo.mask, drawn)
    assert results[3].photo.mask.sum() == 24
    assert results[3].chosen is results[3].found[0]
    assert photos[0].mask is None  # what came in is not changed


def test_photos_without_the_subject_are_an_error_that_says_what_to_do():
    results = segment_photos([photo("a", 0), photo("b", 0)], Scripted(), "cat")
    assert next(results).problem
    assert next(results).problem
    with pytest.raises(
        NoSubject, match="'cat' was not found in any of the 2 photos: name the subject[^$]*nothing in it"
    ):
        next(results)
    with pytest.raises(ValueError, match="no photos to segment"):
        next(segment_photos([], Scripted(), "cat"))


def test_several_subjects_are_refused_with_a_picture_of_them_after_all_photos_were_seen():
    photos = [photo("a", 2), photo("b", 1), photo("c", 3), photo("d", 0)]
    results = segment_photos(photos, Scripted("refuse if several"), "cat")
    assert [bool(result.problem) for result in islice(results, 4)] == [True, False, True, True]
    with pytest.raises(SeveralSubjects, match=r'several subjects in a, c: draw masks .*"largest" choose') as error:
        next(results)
    assert error.value.picture.shape == (512, 1024, 3)
    assert len(error.value.found) == 5
