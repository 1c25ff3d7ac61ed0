"""The training loop of methods that train more than token vectors."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vcd_core.identity import Examples, Recipe, encode_examples, plan_training
from vcd_core.standalone.model import Prompt, StableDiffusion

from .method import IDENTIFIER, Lesson, Tensors, generator_of

Predict = Callable[[Tensor, Tensor, Sequence[str]], Tensor]
"""ε of noised latents (B, 4, h, w) at timesteps (B,) for B prompts, in which `PLACEHOLDER` stands for the subject."""


@dataclass(frozen=True)
class Fit:
    """How a method is trained.

    Attributes:
        rate: AdamW's learning rate.
        weight_decay: AdamW's.
        prior_weight: of the loss on pictures of the class; 0 leaves them out.
    """

    rate: float
    weight_decay: float = 1e-2
    prior_weight: float = 0.0


def whole_examples(model: StableDiffusion, lesson: Lesson) -> Examples:
    """The photos, as they are and mirrored, encoded once; prompts with `PLACEHOLDER`. Masks say only where to crop."""
    recipe = replace(lesson.recipe, augmentation=None, early_stop=False, mask_margin=0.0)
    examples, _ = encode_examples(plan_training(recipe, lesson.photos, model, ()), model.encode)
    return examples


def fit(model: StableDiffusion, lesson: Lesson, trained: Tensors, predict: Predict, how: Fit) -> Tensors:
    """Trains leaf tensors in place with the plain denoising loss, and returns them without their gradients.

        L = mean (ε̂ − ε)² + λ mean (ε̂_class − ε)²

    where ε̂_class is of pictures of the class with the class alone in the prompt (DreamBooth, arXiv:2208.12242). Only
    `trained` can change. What a step draws follows from the recipe's seed.

    Raises:
        ValueError: the training diverged.
    """
    from tqdm import trange

    recipe, generator = lesson.recipe, generator_of(lesson.recipe)
    examples = whole_examples(model, lesson)
    latents, prompts = examples.latents, list(examples.prompts)
    prior = lesson.class_latents().to(latents) if how.prior_weight > 0 else None
    rows = shuffled(len(latents), generator)
    of_the_class = None if prior is None else shuffled(len(prior), generator)
    optimizer = torch.optim.AdamW(list(trained.values()), how.rate, weight_decay=how.weight_decay)
    size = recipe.options.batch_size
    with torch.enable_grad(), trange(recipe.options.steps, desc=f"learning the {recipe.noun}", unit="step") as steps:
        for number in steps:
            chosen = [next(rows) for _ in range(size)]
            loss = denoising_loss(model, latents[chosen], [prompts[row] for row in chosen], predict, generator)
            if prior is not None:
                chosen = [next(of_the_class) for _ in range(size)]
                words = [f"photo of a {recipe.noun}"] * size
                loss = loss + how.prior_weight * denoising_loss(model, prior[chosen], words, predict, generator)
            if not math.isfinite(loss.item()):
                raise ValueError(f"training diverged at step {number + 1}: lower the rate (now {how.rate:g})")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    return {name: value.detach().clone().contiguous() for name, value in trained.items()}


def denoising_loss(
    model: StableDiffusion, latents: Tensor, prompts: Sequence[str], predict: Predict, generator: torch.Generator
) -> Tensor:
    """Of a batch, at noise levels spread evenly over it."""
    sigmas = model.schedule.sigmas.to(latents.device)
    spread = (torch.arange(len(latents)) + torch.rand(len(latents), generator=generator)) / len(latents)
    timesteps = (spread * len(sigmas)).long().clamp(max=len(sigmas) - 1).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents.device)
    root_alpha = 1 / (1 + sigmas[timesteps].view(-1, 1, 1, 1) ** 2).sqrt()
    noised = root_alpha * latents + (1 - root_alpha**2).sqrt() * noise
    return F.mse_loss(predict(noised, timesteps, prompts), noise)


def shuffled(count: int, generator: torch.Generator) -> Iterator[int]:
    """0 to count - 1 in a random order, and again in another, without end."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def as_leaves(tensors: Tensors) -> Tensors:
    """Copies that can be trained."""
    return {name: value.detach().clone().requires_grad_() for name, value in tensors.items()}


def identifier_of(model: StableDiffusion) -> Tensor:
    """(1, D) the embedding of `IDENTIFIER`, a word by which the model tells the subject from its class.

    An encoder that was taught few words, as the demo's, has one embedding for all others, and hardly notices it. There
    it is a vector of its own, of a random direction and as long as the embeddings of the words that were taught.
    """
    every, own = model.text_encoder.get_input_embeddings().weight.detach().float().cpu(), model.embed_words(IDENTIFIER)
    taught = every[(every != own).any(1)]
    if len(taught) == len(every) - 1:
        return own
    return F.normalize(torch.randn(own.shape, generator=torch.Generator().manual_seed(0))) * taught.norm(dim=1).mean()


def identifier_contexts(model: StableDiffusion) -> Callable[[Sequence[str]], Tensor]:
    """Prompts -> (B, L, D) with the identifier for the subject; each prompt is encoded once."""
    identifier = identifier_of(model)
    known: dict[str, Tensor] = {}

    def contexts(prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            if prompt not in known:
                with torch.no_grad():
                    known[prompt] = model.encode_prompt(prompt, identifier)
        return torch.stack([known[prompt] for prompt in prompts])

    return contexts


def called_by_identifier(model: StableDiffusion, noun: str) -> Prompt:
    return ["a ", identifier_of(model), noun]


def noun_of(model: StableDiffusion, recipe: Recipe) -> Tensor:
    """(k, D)"""
    return model.embed_words(recipe.noun).to(model.device)
