"""A training step of ours against one of textual inversion as it is commonly written, on the CPU.

An SD1.5-size model of random weights, pictures of 256x256, batches of 1 and 4. The peer is the plain loop: the VAE
encodes the batch, AdamW runs over the whole embedding matrix, and all rows but the new ones are put back. Ours is
`train_id_token` itself, over latents that were encoded once. In bf16 both hold UNet and, where they need it, VAE in
bfloat16 and the text encoder in float32.

Memory is what a step needs beyond the frozen UNet: the weights that have to be there (text encoder; for the peer the
VAE and the copy of the embeddings), the optimizer's state, and the peak of what lives during the step.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from benchmarks.harness import alternating_medians, case, main, peak_live_bytes
from vcd_core.identity import Augmentation, Examples, TrainingOptions, subject_prompt, train_id_token
from vcd_core.sampling import DiscreteSchedule
from vcd_core.standalone.config import SD15
from vcd_core.standalone.model import StableDiffusion
from vcd_core.standalone.tokenizer import clip_tokenizer

SIDE, BATCHES, TOKENS, VIEWS = 256, (1, 4), 4, 96
TIME_TARGET = 0.72
MEMORY_TARGETS = {1: 0.6, 4: 0.75}
RECOMPUTED_TARGET = 0.4
ROUNDS = 3
MIB = 2**20
SCHEDULE = DiscreteSchedule.from_betas()


def random_model() -> StableDiffusion:
    parts = (
        UNet2DConditionModel(**SD15.unet()),
        AutoencoderKL(**SD15.vae()),
        CLIPTextModel(CLIPTextConfig(**SD15.text_encoder())),
    )
    unet, vae, text = (part.eval().requires_grad_(False) for part in parts)
    return StableDiffusion(unet, vae, text, clip_tokenizer(), SCHEDULE, SD15.scaling_factor)


class TextualInversion:
    """The common loop, one new token for each of ours."""

    def __init__(self, model: StableDiffusion, batch: int):
        self.model, self.batch = model, batch
        self.dtype = model.unet.dtype
        self.text = copy.deepcopy(model.text_encoder)
        embeddings = self.text.resize_token_embeddings(self.text.get_input_embeddings().num_embeddings + TOKENS)
        self.embeddings = embeddings.weight.requires_grad_()
        self.before = self.embeddings.detach().clone()
        self.optimizer = torch.optim.AdamW([self.embeddings], 5e-4)
        new = torch.arange(len(self.embeddings) - TOKENS, len(self.embeddings))
        words = [model.tokenizer(words, add_special_tokens=False).input_ids for words in ("a photo of a", "woman")]
        start, end = model.tokenizer.bos_token_id, model.tokenizer.eos_token_id
        row = [start, *words[0], *new.tolist(), *words[1]]
        self.ids = torch.tensor([row + [end] * (77 - len(row))] * batch)
        self.old = torch.ones(len(self.embeddings), dtype=torch.bool).index_fill(0, new, False)
        self.pixels = torch.rand(batch, 3, SIDE, SIDE) * 2 - 1

    def step(self) -> None:
        latents = self.model.vae.encode(self.pixels.to(self.dtype)).latent_dist.sample() * SD15.scaling_factor
        noise = torch.randn_like(latents)
        timesteps = torch.randint(len(SCHEDULE.sigmas), (self.batch,))
        alpha = 1 / (1 + SCHEDULE.sigmas[timesteps].view(-1, 1, 1, 1) ** 2)
        noised = (alpha.sqrt() * latents + (1 - alpha).sqrt() * noise).to(self.dtype)
        context = self.text(self.ids).last_hidden_state.to(self.dtype)
        predicted = self.model.unet(noised, timesteps, encoder_hidden_states=context).sample
        F.mse_loss(predicted.float(), noise.float()).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            self.embeddings[self.old] = self.before[self.old]

    def held(self) -> int:
        """Bytes that have to be there between steps, beyond the UNet."""
        moments = [value for state in self.optimizer.state.values() for value in state.values()]
        return size([*self.text.parameters(), *self.model.vae.encoder.parameters(), self.before, *moments])


def cached_examples() -> Examples:
    """Sixteen views of each of six photos, with the openings of prompts that augmentation draws."""
    how = Augmentation()
    openings = ("", "", "", *how.far_words, *how.near_words)
    prompts = [subject_prompt("woman", openings[view % len(openings)]) for view in range(VIEWS)]
    return Examples(torch.randn(VIEWS, 4, SIDE // 8, SIDE // 8), torch.ones(VIEWS, 1, SIDE // 8, SIDE // 8), prompts)


def our_steps(model: StableDiffusion, examples: Examples, batch: int) -> Iterator:
    """The shipped loop."""
    first = model.embed_words("woman").expand(TOKENS, -1)
    return train_id_token(model, SCHEDULE, examples, first, TrainingOptions(steps=10**6, batch_size=batch))


def size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@contextmanager
def recomputing(unet: nn.Module) -> Iterator[None]:
    unet.enable_gradient_checkpointing()
    yield
    unet.disable_gradient_checkpointing()


def run() -> list[dict]:
    cases = []
    model = random_model()
    for precision in ("fp32", "bf16"):
        if precision == "bf16":
            model.vae.bfloat16()
            model = model.in_precision("bfloat16")
        for batch in BATCHES:
            peer, examples = TextualInversion(model, batch), cached_examples()
            steps = our_steps(model, examples, batch)
            ours: Callable[[], object] = lambda steps=steps: next(steps)  # noqa: E731
            seconds = alternating_medians(ours, peer.step, ROUNDS)
            cases.append(case(f"time batch {batch} {precision}", "s", *seconds, TIME_TARGET))
            held = size([*model.text_encoder.parameters(), examples.latents, examples.masks])
            theirs = (peer.held() + peak_live_bytes(peer.step)) / MIB
            cases.append(
                case(
                    f"memory batch {batch} {precision}",
                    "MiB",
                    (held + peak_live_bytes(ours)) / MIB,
                    theirs,
                    MEMORY_TARGETS[batch],
                )
            )
            with recomputing(model.unet):
                needed = (held + peak_live_bytes(ours)) / MIB
            name = f"memory batch {batch} {precision} recomputed"
            cases.append(case(name, "MiB", needed, theirs, RECOMPUTED_TARGET))
    return cases


if __name__ == "__main__":
    main("train_step", run)
