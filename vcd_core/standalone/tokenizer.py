"""CLIP's tokenizer from the vocabulary that comes with the package: no download."""

import functools
import gzip
import json
import tempfile
from pathlib import Path

from .config import PROMPT_LENGTH, VOCABULARY

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
