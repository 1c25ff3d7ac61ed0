"""How alike pictures are, by what a network makes of them: D features a picture.

A row that is not a number stands for a picture in which there was nothing to look at, such as a face; it takes no part.
"""

import torch.nn.functional as F
from torch import Tensor


def pair_similarity(frames: Tensor, references: Tensor) -> Tensor:
    """Cosine of every (frame, reference) pair: (F, D) and (R, D) -> (F, R) float64 in [-1, 1]."""
    return F.normalize(frames.double(), dim=-1) @ F.normalize(references.double(), dim=-1).T


def reference_similarity(frames: Tensor, references: Tensor) -> Tensor:
    """(F,): each frame's mean cosine with all references. Its mean over frames is that over all pairs.

    With CLIP's features this is CLIP-I, with DINO's DINO (DreamBooth, arXiv:2208.12242), with ArcFace's the similarity
    of faces.
    """
    return pair_similarity(frames, references).nanmean(1)


def text_similarity(frames: Tensor, text: Tensor) -> Tensor:
    """(F,): each frame's cosine with a text (D,) of the same CLIP: CLIP-T, neither scaled nor clipped at 0."""
    return pair_similarity(frames, text[None])[:, 0]


def neighbour_similarity(frames: Tensor) -> Tensor:
    """(F - 1,): cosine of each frame and the next, the temporal smoothness of a clip. One frozen frame gets 1."""
    return F.cosine_similarity(frames[:-1].double(), frames[1:].double(), dim=-1)


def leakage(frames: Tensor, references: Tensor, unrelated: Tensor) -> Tensor:
    """(F,) in [-2, 2]: how much more a frame's background is like those of the references than like unrelated ones.

    Any two backgrounds are somewhat alike to a network, so only the difference says that one came from the references.
    It is 0 in the mean for a place that has nothing to do with either.

    Args:
        frames, references, unrelated: (F, D), (R, D) and (U, D) of backgrounds, subjects cut out alike.
    """
    return reference_similarity(frames, references) - reference_similarity(frames, unrelated)
