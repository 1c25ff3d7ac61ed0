"""Mixtures of two tokens, and a token's strength."""

import math
from dataclasses import replace

import pytest
import torch
from id_tokens import TOKEN
from torch.testing import assert_close

from vcd_core.identity import IDToken, mix_id_tokens, with_strength

OTHER = IDToken("kit", 3 * torch.randn(4, 768, generator=torch.Generator().manual_seed(1)), "cat", 100)
every_share = pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.95, 1.0])


def unit(vectors):
    return vectors / vectors.norm(dim=1, keepdim=True)


def test_a_mixture_begins_at_one_and_ends_at_the_other():
    assert_close(mix_id_tokens(TOKEN, OTHER, 0).vectors, TOKEN.vectors)
    assert_close(mix_id_tokens(TOKEN, OTHER, 1).vectors, OTHER.vectors)


@every_share
def test_norms_go_evenly_from_one_to_the_other(share):
    norms = mix_id_tokens(TOKEN, OTHER, share).vectors.norm(dim=1)
    a, b = TOKEN.vectors.norm(dim=1), OTHER.vectors.norm(dim=1)
    assert_close(norms.log(), (1 - share) * a.log() + share * b.log())


@every_share
def test_directions_lie_between_in_the_plane_of_both(share):
    """The angles to the two ends add up to the angle between them: nothing third comes in."""
    mixed, a, b = unit(mix_id_tokens(TOKEN, OTHER, share).vectors), unit(TOKEN.vectors), unit(OTHER.vectors)

    def angle(x, y):
        return (x.double() * y.double()).sum(dim=1).clamp(-1, 1).acos()

    # acos loses half of the digits near 1: √(float32's 1e-7)
    assert_close(angle(mixed, a) + angle(mixed, b), angle(a, b), rtol=0, atol=2e-3)


@every_share
def test_mixing_is_the_same_from_both_sides(share):
    assert_close(mix_id_tokens(TOKEN, OTHER, share).vectors, mix_id_tokens(OTHER, TOKEN, 1 - share).vectors)


@every_share
def test_a_token_mixed_with_itself_is_itself(share):
    assert_close(mix_id_tokens(TOKEN, TOKEN, share).vectors, TOKEN.vectors)


def test_opposites_and_zeros_stay_finite():
    zero = replace(TOKEN, vectors=torch.zeros(4, 768))
    for other in (replace(TOKEN, vectors=-TOKEN.vectors), zero):
        assert torch.isfinite(mix_id_tokens(TOKEN, other, 0.5).vectors).all()
    assert_close(mix_id_tokens(TOKEN, zero, 0).vectors, TOKEN.vectors)
    assert_close(mix_id_tokens(TOKEN, zero, 1).vectors, zero.vectors)


def test_a_mixture_answers_to_the_first_name_and_passes_for_neither():
    nearer, farther = mix_id_tokens(TOKEN, OTHER, 0.25), mix_id_tokens(TOKEN, OTHER, 0.75)
    assert (nearer.prompt, farther.prompt) == ("embedding:ava woman", "embedding:ava cat")
    assert (nearer.fingerprint, nearer.thumbnail) == ("", b"")
    assert nearer.settings == "0.75 ava, 0.25 kit"


@pytest.mark.parametrize("shape", [(2, 768), (4, 128)])
def test_tokens_that_do_not_match_are_not_mixed(shape):
    with pytest.raises(ValueError, match=r"'ava' has 4 vectors of 768 numbers and 'odd' has \d of \d+"):
        mix_id_tokens(TOKEN, IDToken("odd", torch.ones(shape), "cat", 1), 0.5)


@pytest.mark.parametrize("share", [-0.01, 1.01, math.nan])
def test_a_share_lies_between_0_and_1(share):
    with pytest.raises(ValueError, match="share must lie"):
        mix_id_tokens(TOKEN, OTHER, share)


def test_strength_goes_from_the_noun_through_the_token():
    noun = torch.randn(3, 768, generator=torch.Generator().manual_seed(2))
    repeated = noun[[0, 1, 2, 0]]
    assert_close(with_strength(TOKEN, noun, 0).vectors, repeated)
    assert_close(with_strength(TOKEN, noun, 1).vectors, TOKEN.vectors)
    likeness = [
        (unit(with_strength(TOKEN, noun, strength).vectors) * unit(repeated)).sum(dim=1)
        for strength in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    ]
    assert all((later < earlier).all() for earlier, later in zip(likeness, likeness[1:], strict=False))
    assert with_strength(TOKEN, noun, 0.5).prompt == TOKEN.prompt


def test_strength_beyond_1_never_turns_a_norm_around():
    noun = 10 * torch.randn(1, 768, generator=torch.Generator().manual_seed(2))
    strong = with_strength(TOKEN, noun, 2).vectors
    assert_close(strong.norm(dim=1), TOKEN.vectors.norm(dim=1) ** 2 / noun.norm())


@pytest.mark.parametrize("strength", [-0.1, 2.1, math.nan])
def test_strength_has_limits(strength):
    with pytest.raises(ValueError, match="strength must lie"):
        with_strength(TOKEN, torch.ones(1, 768), strength)
