"""CLIP's tokenizer from the vocabulary that comes with the package: no download."""

import functools
import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from ..identity import PLACEHOLDER
from .config import PROMPT_LENGTH, VOCABULARY

Prompt = Sequence[str | Tensor]
"""A prompt in pieces: words, and (n, D) learned vectors between them."""

MERGES_FILE = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
START_WORD, END_WORD = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"


@functools.cache  # building it takes longer than anything else of a small model
def clip_tokenizer():
    """transformers' CLIPTokenizer with CLIP's 49,408 entries; it pads with the end token, as SD1.5 does."""
    from transformers import CLIPTokenizer
    from transformers.models.clip.tokenization_clip import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + END_OF_WORD for letter in letters)]
    # The file goes on with merges that CLIP was not trained with.
    lines = gzip.decompress(MERGES_FILE.read_bytes()).decode("utf-8").split("\n")
    merges = lines[1 : 1 + VOCABULARY - len(words) - 2]
    words += [merge.replace(" ", "") for merge in merges]
    words += [START_WORD, END_WORD]

    with tempfile.TemporaryDirectory() as folder:
        vocabulary_file, merges_file = Path(folder, "vocab.json"), Path(folder, "merges.txt")
        vocabulary_file.write_text(json.dumps({word: index for index, word in enumerate(words)}), encoding="utf-8")
        merges_file.write_text("\n".join([lines[0], *merges]), encoding="utf-8")
        return CLIPTokenizer(str(vocabulary_file), str(merges_file), pad_token=END_WORD, model_max_length=PROMPT_LENGTH)


def word_ids(words: str, tokenizer) -> list[int]:
    return tokenizer(words, add_special_tokens=False, verbose=False).input_ids


def check_length(prompt: Prompt, tokenizer) -> None:
    """Raises ValueError for a prompt that the text encoder would have to cut."""
    learned = sum(len(piece) for piece in prompt if not isinstance(piece, str))
    count = learned + sum(len(word_ids(piece, tokenizer)) for piece in prompt if isinstance(piece, str))
    if count > PROMPT_LENGTH - 2:
        words = " ".join(piece.strip() if isinstance(piece, str) else PLACEHOLDER for piece in prompt)
        raise ValueError(
            f"the prompt {words!r} has {count} tokens{f', {learned} of them learned' if learned else ''}, the text "
            f"encoder takes {PROMPT_LENGTH - 2}: shorten it"
        )
