"""A clip longer than memory, changed in pieces."""

import weakref

import numpy as np
import pytest
import torch

from vcd_core.noise import NoiseChain, correlated_noise
from vcd_core.tiles import in_pieces, pieces_of


def clip(frames):
    return torch.rand(frames, 4, 6, 3, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("frames", [1, 7, 30])
@pytest.mark.parametrize(("size", "overlap"), [(1, 0), (5, 2), (8, 3), (40, 4)])
@pytest.mark.parametrize("cuts", [[], [1], [3, 4], [6, 20, 29]])
def test_shares_add_up_to_one_and_no_piece_reaches_over_a_cut(frames, size, overlap, cuts):
    cuts = [cut for cut in cuts if cut < frames]
    total = np.zeros(frames)
    for piece in pieces_of(frames, cuts, size, overlap):
        total[piece.frames.start : piece.frames.stop] += piece.shares
        assert len(piece.frames) <= size
        assert not any(piece.frames.start < cut < piece.frames.stop for cut in cuts)
    assert np.abs(total - 1).max() < 1e-6


def test_what_changes_each_frame_alone_does_so_in_pieces_too():
    frames = clip(30)
    made = list(in_pieces(iter(frames), pieces_of(30, [9, 10], 8, 3), lambda part, numbers: 1 - part))
    torch.testing.assert_close(torch.stack(made), 1 - frames)


def test_a_piece_gets_its_frames_and_their_numbers_and_may_change_their_size():
    frames, seen = clip(13), []

    def twice(part, numbers):
        assert torch.equal(part, frames[numbers.start : numbers.stop])
        seen.append(numbers)
        return part.repeat_interleave(2, 1)

    made = torch.stack(list(in_pieces(frames, pieces_of(13, [6], 5, 2), twice)))
    assert seen == [piece.frames for piece in pieces_of(13, [6], 5, 2)]
    torch.testing.assert_close(made, frames.repeat_interleave(2, 1))


def test_one_piece_fades_into_the_next():
    pieces = pieces_of(9, [], 6, 3)
    made = list(in_pieces(clip(9), pieces, lambda part, numbers: torch.full_like(part, float(numbers.start > 0))))
    values = [frame.mean().item() for frame in made]
    assert values[:3] == [0, 0, 0]
    assert values[3:6] == pytest.approx([0.25, 0.5, 0.75])
    assert values[6:] == pytest.approx([1, 1, 1])


def test_a_frame_comes_out_as_soon_as_it_is_done_and_few_are_held():
    taken = 0

    def frames():
        nonlocal taken
        for frame in clip(200):
            taken += 1
            yield frame

    for done, _ in enumerate(in_pieces(frames(), pieces_of(200, [], 10, 4), lambda part, _: part)):
        assert taken - done <= 10 + 6
    assert done == 199


def test_what_was_made_of_a_piece_is_let_go_before_the_next():
    made = []

    def change(part, numbers):
        assert all(one() is None for one in made)
        array = part.numpy().copy()
        made.append(weakref.ref(array))
        return torch.from_numpy(array)

    assert len(list(in_pieces(clip(30), pieces_of(30, [11], 8, 3), change))) == 30
    assert len(made) > 4


@pytest.mark.parametrize("there", [0, 8, 12])
def test_a_clip_of_another_length_is_an_error(there):
    with pytest.raises(ValueError, match="has not the 10 frames that were planned for"):
        list(in_pieces(clip(12)[:there], pieces_of(10, [], 4, 1), lambda part, _: part))


def test_windows_that_share_frames_share_their_noise_which_is_one_chain():
    chain = NoiseChain((4, 2, 3), 0.6, 5)
    parts = {span: chain.of(span) for span in (range(0, 6), range(4, 10), range(10, 12))}
    assert torch.equal(parts[range(0, 6)][4:], parts[range(4, 10)][:2])
    whole = correlated_noise((12, 4, 2, 3), 0.6, torch.Generator().manual_seed(5))
    assert torch.equal(torch.cat([parts[range(0, 6)], parts[range(4, 10)][2:], parts[range(10, 12)]]), whole)
