"""Tokens between tokens: two subjects mixed, or one more or less of itself."""

from dataclasses import replace

import torch
from torch import Tensor

from .token import IDToken

MOST_STRENGTH = 2.0


def interpolate_vectors(a: Tensor, b: Tensor, share: float) -> Tensor:
    """From a to b, each vector's direction and norm by itself.

        d = (1 − s) a + s b,    v = d / |d| · |a|^(1 − s) |b|^s

    The text encoder adds position embeddings to its inputs before it normalises their sum, so a vector's norm says
    how much it is heard. Two learned vectors are almost at right angles, and a plain average of them would be a third
    shorter than either: fainter, not between. With the geometric mean, norms stay positive beyond b too (s > 1).
    Where opposite directions cancel out, the result is 0.

    Args:
        a, b: (n, D).
        share: s; 0 gives a, 1 gives b.
    """
    mixed = (1 - share) * a + share * b
    norms = [vectors.norm(dim=1, keepdim=True) for vectors in (a, b, mixed)]
    smallest = torch.finfo(mixed.dtype).tiny
    of_a, of_b, of_mixed = (norm.clamp(min=smallest) for norm in norms)
    return mixed / of_mixed * of_a ** (1 - share) * of_b**share


def mix_id_tokens(a: IDToken, b: IDToken, share: float) -> IDToken:
    """A subject between two, vector by vector (see `interpolate_vectors`).

    It keeps a's name, so that a prompt which names it need not change; the noun is that of the nearer of the two.
    Tokens that began as the same words mix best, because then vectors of the same place have most in common.

    Args:
        share: of b, in [0, 1].

    Raises:
        ValueError: a share outside, or tokens of another number or width of vectors.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share}")
    if a.vectors.shape != b.vectors.shape:
        (n_a, width_a), (n_b, width_b) = a.vectors.shape, b.vectors.shape
        raise ValueError(
            f"{a.name!r} has {n_a} vectors of {width_a} numbers and {b.name!r} has {n_b} of {width_b}: only tokens "
            "with as many, of one kind of model, can be mixed; train both with the same number of vectors"
        )
    return replace(
        a,
        vectors=interpolate_vectors(a.vectors, b.vectors, share),
        noun=a.noun if share < 0.5 else b.noun,
        fingerprint="",
        settings=f"{1 - share:g} {a.name}, {share:g} {b.name}",
        thumbnail=b"",
    )


def with_strength(token: IDToken, noun_vectors: Tensor, strength: float) -> IDToken:
    """More or less of a subject: 0 is anyone of its class, 1 the token as it was learned, above 1 a caricature.

    Learning went from the noun's embedding to the token's vectors, so what it learned is the way between the two, and
    strength is how much of that way is gone (see `interpolate_vectors`). ComfyUI's (embedding:NAME:1.2) does something
    else: it scales what the text encoder makes of the words, as it would for any word, and below 1 the subject gives
    way to nothing rather than to its class.

    Args:
        noun_vectors: (k, D) the text encoder's own for the noun; repeated or cut to the token's n, as in training.
        strength: in [0, 2].

    Raises:
        ValueError: a strength outside.
    """
    if not 0 <= strength <= MOST_STRENGTH:
        raise ValueError(f"strength must lie in [0, {MOST_STRENGTH:g}], got {strength}")
    noun = noun_vectors.to(token.vectors)[torch.arange(len(token.vectors)) % len(noun_vectors)]
    return replace(token, vectors=interpolate_vectors(noun, token.vectors, strength), fingerprint="")
