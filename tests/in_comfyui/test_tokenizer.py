"""The vocabulary that ships with the library against the one that ships with ComfyUI."""

import pytest
from comfy.sd1_clip import SDTokenizer
from vcd_pack.vcd_core.standalone.tokenizer import clip_tokenizer


@pytest.fixture(scope="module")
def tokenizers():
    return clip_tokenizer(), SDTokenizer().tokenizer


@pytest.mark.parametrize(
    "text",
    [
        "Ava's  RED-haired cat, isn't it?",
        "1990s 4k café at 7:30",
        "naïve ☃ emoji 🎉!",
        "antidisestablishmentarianism",
        "",
    ],
)
def test_both_give_the_same_ids(tokenizers, text):
    ours, theirs = tokenizers
    assert ours(text).input_ids == theirs(text)["input_ids"]


def test_both_hold_the_same_words(tokenizers):
    ours, theirs = tokenizers
    assert ours.get_vocab() == theirs.get_vocab()
