"""The text encoder, by itself: what is said of a picture must be readable from where the prompt ends.

SD1.5's text encoder learned from pictures and captions of half a billion people, many of whom it knows by name. Ours
learns (1) to bind words to things: linear heads read every attribute, the place and the framing from the states at
and behind the end of the prompt; and (2) that people have names: a small network makes one, two or four vectors from
somebody's attributes, and the heads must read the attributes back from a prompt with these in front of the noun. The
network is for training alone: an ID token has to be found from photos.
"""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from vcd_core.standalone.config import DEMO, END, PROMPT_LENGTH, START
from vcd_core.standalone.tokenizer import clip_tokenizer

from .. import appearance, captions, world
from ..characters import FACES, Look
from ..places import PLACES
from ..shots import ACTIONS, DETAIL, FRAMINGS, random_shot
from ..tensors import mixed_precision
from ..train import Draws, Stage

BATCH = 64
NAME_LENGTHS = (1, 2, 4)
NAMED_SHARE = 0.35
UNKNOWN_WORDS = 0.25  # of prompts have some
PLACE_NAMES = tuple(PLACES)
ACTION_NAMES = tuple(ACTIONS.values())
OPENINGS = ("a photo of", *(opening for opening, *_ in FRAMINGS.values()), DETAIL)

CHOICES: dict[str, tuple[str, ...]] = {
    "noun": appearance.NOUNS,
    "place": PLACE_NAMES,
    "action": ACTION_NAMES,
    "opening": OPENINGS,
    **appearance.KINDS,
    **{f"{name} name": tuple(colours) for name, colours in appearance.COLOURS.items()},
}
"""What the heads read, each with one more answer: that nothing was said of it."""


def vocabulary() -> list[int]:
    """The ids of CLIP's vocabulary that captions use, rising."""
    words = [*appearance.NOUNS, *PLACE_NAMES, *ACTION_NAMES, *OPENINGS, *FACES, *captions.SURFACE.values()]
    words += [name for palette in (*appearance.SKIN_OF.values(), *appearance.COLOURS.values()) for name in palette]
    words += [phrase.replace("{}", "") for phrase in appearance.HAIR_PHRASES.values()]
    words += [
        *appearance.GLASSES[1:],
        *appearance.HATS[1:],
        *appearance.BEARDS[1:],
        *appearance.PATTERNS,
        *appearance.BROWS,
    ]
    words += ["photo picture of the a an and with no glasses hat beard brows eyes face shirt hair, person"]
    ids = {token for text in words for token in clip_tokenizer()(text, add_special_tokens=False).input_ids}
    return sorted(ids | {START, END})


class TextModel(nn.Module):
    """The text encoder over the rows of the vocabulary that are used, and what it is taught by."""

    def __init__(self):
        super().__init__()
        self.ids = vocabulary()
        self.row = {token: row for row, token in enumerate(self.ids)}
        self.encoder = CLIPTextModel(CLIPTextConfig(**DEMO.text_encoder() | {"vocab_size": len(self.ids) + 1}))
        width = DEMO.text_width
        inputs = len(self.describe(appearance.random_look(np.random.default_rng(0))))
        self.names = nn.Sequential(nn.Linear(inputs, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU())
        self.name_vectors = nn.ModuleList(nn.Linear(256, count * width) for count in NAME_LENGTHS)
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(all_) + 1) for name, all_ in CHOICES.items()})
        self.colours = nn.ModuleDict({name: nn.Linear(width, 3) for name in appearance.COLOURS})
        for layer in self.name_vectors:
            nn.init.normal_(layer.weight, std=0.02 / 16)

    @staticmethod
    def describe(look: Look) -> np.ndarray:
        """Somebody as numbers: one of each kind, and colours in [-1, 1]; 0 for what is not to be seen."""
        shown = appearance.attributes(look)
        parts = [np.eye(len(appearance.NOUNS))[appearance.NOUNS.index(look.noun)]]
        for name, kinds in appearance.KINDS.items():
            parts.append(np.eye(len(kinds))[kinds.index(getattr(look, name))] * (name in shown))
        for name in appearance.COLOURS:
            parts.append((np.array(getattr(look, name)) / 127.5 - 1) * (name in shown))
        return np.concatenate(parts).astype(np.float32)

    def rows(self, words: str) -> list[int]:
        tokens = clip_tokenizer()(words, add_special_tokens=False, verbose=False).input_ids
        return [self.row.get(token, len(self.ids)) for token in tokens]

    def name(self, looks: list[Look], count: int) -> Tensor:
        """(B, count, D) vectors for these people."""
        hidden = self.names(torch.from_numpy(np.stack([self.describe(look) for look in looks])))
        return self.name_vectors[NAME_LENGTHS.index(count)](hidden).unflatten(1, (count, -1))

    def forward(self, prompts: list[list[int | Tensor]], length: int = PROMPT_LENGTH) -> tuple[Tensor, Tensor]:
        """Prompts in pieces, rows of words and (D,) vectors -> states (B, length, D) and the place of each end (B,)."""
        start, end = self.row[START], self.row[END]
        ids = torch.full((len(prompts), length), end)
        vectors, places = [], []
        ends = torch.empty(len(prompts), dtype=torch.long)
        for number, prompt in enumerate(prompts):
            prompt = prompt[: length - 2]
            ids[number, 0] = start
            for position, piece in enumerate(prompt, 1):
                if isinstance(piece, int):
                    ids[number, position] = piece
                else:
                    vectors.append(piece)
                    places.append((number, position))
            ends[number] = len(prompt) + 1

        def put_vectors(_module, _input, embedded: Tensor) -> Tensor:
            return embedded.index_put(tuple(torch.tensor(places).T), torch.stack(vectors).to(embedded))

        embedding = self.encoder.get_input_embeddings()
        hook = embedding.register_forward_hook(put_vectors) if vectors else None
        try:
            return self.encoder(ids).last_hidden_state, ends
        finally:
            if hook is not None:
                hook.remove()


def stage(folder: Path) -> Stage:
    return Stage(TextModel(), loss, report, steps=4000, learning_rate=1e-3, weight_decay=0.01, report_every=500)


def answers(caption: str, look: Look, named: bool) -> dict[str, int]:
    """What the heads should read: the index of what was said, one past the last for nothing."""
    said = {}
    bare = {name: captions.without_article(phrase) for name, phrase in captions.phrases(look).items()}
    for name, options in CHOICES.items():
        unsaid = len(options)
        if name in ("noun", "place", "action", "opening"):
            heard = [index for index, words in enumerate(options) if words and words in caption]
            said[name] = max(heard, key=lambda index: len(options[index]), default=unsaid)
            continue
        attribute = name.removesuffix(" name")
        if attribute not in appearance.attributes(look):
            said[name] = unsaid
            continue
        value = appearance.colour_name(attribute, look) if name != attribute else getattr(look, attribute)
        part = {"hair_colour": "hair", "pattern": "shirt"}.get(attribute, attribute)
        mentioned = named or bare.get(part, "\0") in caption
        if attribute == "hair_colour" and not named:
            mentioned = value in bare["hair"] and bare["hair"] in caption
            mentioned |= value in bare.get("beard", "") and bare["beard"] in caption
        said[name] = options.index(value) if mentioned else unsaid
    return said


def loss(model: TextModel, draws: Draws) -> tuple[Tensor, dict[str, float]]:
    rng = draws.numpy
    scenes = [world.random_scene(rng) for _ in range(BATCH)]
    named = rng.random(BATCH) < NAMED_SHARE
    count = int(rng.choice(NAME_LENGTHS))
    codes = model.name([scene.look for scene in scenes], count)
    jitter = 0.15 * codes.detach().square().mean().sqrt()
    codes = codes + jitter * torch.randn(codes.shape, generator=draws.torch)
    prompts, targets = [], []
    for number, scene in enumerate(scenes):
        if named[number]:
            prompt, words = named_prompt(model, rng, scene, list(codes[number]))
        else:
            words = "" if rng.random() < 0.03 else captions.random_caption(rng, scene.look, scene.shot)
            prompt = model.rows(words)
        if rng.random() < UNKNOWN_WORDS:
            for _ in range(rng.integers(1, 4)):
                prompt.insert(rng.integers(len(prompt) + 1), len(model.ids))
        prompts.append(prompt)
        targets.append(answers(words, scene.look, bool(named[number])) if words else {})
    longest = max(map(len, prompts)) + 3
    length = PROMPT_LENGTH if rng.random() < 0.15 else min(PROMPT_LENGTH, longest)
    with mixed_precision():
        states, ends = model(prompts, length)
    states = states.float()
    behind = ends + (torch.rand(BATCH, generator=draws.torch) * (length - ends)).long()
    row = torch.arange(BATCH)
    total, right, asked = 0.0, 0, 0
    target = {
        name: torch.tensor([said.get(name, len(options)) for said in targets]) for name, options in CHOICES.items()
    }
    for place in (ends, behind):
        state = states[row, place]
        for name, head in model.heads.items():
            scores = head(state)
            total = total + F.cross_entropy(scores, target[name])
            right += (scores.argmax(1) == target[name]).sum().item()
            asked += BATCH
        if named.any():
            who = torch.from_numpy(np.flatnonzero(named))
            for name, head in model.colours.items():
                rgb = torch.tensor([getattr(scenes[index].look, name) for index in who]) / 127.5 - 1
                shown = torch.tensor([name in appearance.attributes(scenes[index].look) for index in who])[:, None]
                total = total + 5 * ((head(state[who]) - rgb).square() * shown).mean()
    return total / 2 / len(CHOICES), {"right": right / asked}


def named_prompt(
    model: TextModel, rng: np.random.Generator, scene: world.Scene, vectors: list[Tensor], acting: float = 0.5
) -> tuple[list[int | Tensor], str]:
    """A prompt with vectors in front of the noun, in pieces, and what its words are without them.

    Args:
        acting: how often what they do is said.
    """
    start = captions.opening(scene.shot) if rng.random() < 0.5 else "a photo of"
    if rng.random() < 0.3:
        start = start.removeprefix("a ")
    if rng.random() < 0.5:
        start += " a"
    ending = scene.shot.place if rng.random() < 0.8 else ""
    if rng.random() < acting:
        ending = f"{ACTIONS[scene.shot.action]} {ending}"
    noun = scene.look.noun
    pieces = [*model.rows(start), *vectors, *model.rows(f"{noun} {ending}")]
    return pieces, f"{start} {noun} {ending}"


@torch.no_grad()
def report(model: TextModel, folder: Path) -> dict[str, float]:
    """The share of what heads read correctly of captions and names of people held out from training."""
    rng = np.random.default_rng(11)
    scenes = [world.Scene(appearance.random_look(rng, held_out=True), random_shot(rng)) for _ in range(128)]
    found = {}
    for way in ("caption", *(f"name {count}" for count in NAME_LENGTHS)):
        if way == "caption":
            words = [captions.caption(scene.look, scene.shot) for scene in scenes]
            prompts = [model.rows(text) for text in words]
        else:
            codes = model.name([scene.look for scene in scenes], int(way[-1]))
            made = [named_prompt(model, rng, scene, list(code)) for scene, code in zip(scenes, codes, strict=True)]
            prompts, words = zip(*made, strict=True)
        states, ends = model(list(prompts))
        state = states[torch.arange(len(scenes)), ends]
        said = [answers(text, scene.look, way != "caption") for text, scene in zip(words, scenes, strict=True)]
        right = {
            name: np.mean(head(state).argmax(1).numpy() == [one[name] for one in said])
            for name, head in model.heads.items()
        }
        found[way] = np.mean(list(right.values()))
        worst = min(right, key=right.get)
        found[f"{way}, {worst}"] = right[worst]
    return found
