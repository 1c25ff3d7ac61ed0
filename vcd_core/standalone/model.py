"""Stable Diffusion 1.5 behind the core's ports."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..identity import PLACEHOLDER
from ..sampling import DiscreteSchedule
from ..sampling.guidance import Denoise
from .config import PROMPT_LENGTH
from .tokenizer import Prompt, check_length, word_ids


@dataclass(frozen=True)
class StableDiffusion:
    """A model of the Stable Diffusion 1.5 family; `vcd_core.identity.TextConditionedDenoiser` is one of its ports.

    Attributes:
        unet: diffusers' UNet2DConditionModel.
        vae: diffusers' AutoencoderKL.
        text_encoder: transformers' CLIPTextModel.
        tokenizer: transformers' CLIPTokenizer.
        schedule: the noise levels the UNet is used with.
        scaling_factor: latents are the VAE's times this.
    """

    unet: nn.Module
    vae: nn.Module
    text_encoder: nn.Module
    tokenizer: object
    schedule: DiscreteSchedule
    scaling_factor: float

    @property
    def device(self) -> torch.device:
        return self.unet.device

    def in_precision(self, name: str) -> "StableDiffusion":
        """With the UNet in "float32", "bfloat16" or "float16"; the VAE and the text encoder stay as they are."""
        return replace(self, unet=nn.Module.to(self.unet, getattr(torch, name)))  # diffusers' own warns in vain

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(F, 3, H, W) in [-1, 1] -> (F, 4, h, w): the mean of what the VAE allows, scaled. One frame at a time."""
        frames = images.to(self.device).split(1)
        return torch.cat([self.vae.encode(frame).latent_dist.mode() for frame in frames]) * self.scaling_factor

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """(F, 4, h, w) -> (F, 3, H, W), clamped to [-1, 1]. One frame at a time."""
        frames = (latents.to(self.device) / self.scaling_factor).split(1)
        return torch.cat([self.vae.decode(frame).sample for frame in frames]).clamp(-1, 1)

    def denoiser(self, context: Tensor) -> Denoise:
        """`denoise(x, sigma) -> x0` for one prompt, without guidance; x (F, 4, h, w), sigma a scalar.

        Args:
            context: (L, D) the encoded prompt.
        """

        def denoise(x: Tensor, sigma: Tensor) -> Tensor:
            timestep = self.schedule.timestep(sigma).to(x.device)
            scaled = x / (1 + sigma**2).sqrt()
            noise = self.predict_noise(scaled, timestep.expand(len(x)), context.expand(len(x), -1, -1))
            return x - sigma * noise

        return denoise

    def predict_noise(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        dtype = self.unet.dtype
        return self.unet(noised.to(dtype), timesteps, encoder_hidden_states=context.to(dtype)).sample.float()

    def embed_words(self, words: str) -> Tensor:
        ids = word_ids(words, self.tokenizer)
        if not ids:
            raise ValueError("the class noun is empty: give a word for what the subject is, such as woman or cat")
        return self.text_encoder.get_input_embeddings().weight[ids].detach().float().cpu()

    def encode_prompt(self, prompt: str, learned: Tensor) -> Tensor:
        first, *others = prompt.split(PLACEHOLDER)
        pieces = [first]
        for words in others:
            pieces += [learned, words]
        return self.encode_pieces(pieces)

    def encode_pieces(self, prompt: Prompt) -> Tensor:
        """(L, D) the text encoder's last hidden state; differentiable in the vectors among the pieces.

        Raises:
            ValueError: the prompt is too long, or vectors are not of the encoder's width.
        """
        check_length(prompt, self.tokenizer)
        embeddings = self.text_encoder.get_input_embeddings()
        ids, positions, vectors = [self.tokenizer.bos_token_id], [], []
        for piece in prompt:
            if isinstance(piece, str):
                ids += word_ids(piece, self.tokenizer)
                continue
            if piece.shape[1] != embeddings.embedding_dim:
                raise ValueError(
                    f"the ID token's vectors have {piece.shape[1]} numbers each, the text encoder takes "
                    f"{embeddings.embedding_dim}: train the token with a model of this family"
                )
            positions += range(len(ids), len(ids) + len(piece))
            vectors.append(piece.to(self.device))
            ids += [self.tokenizer.pad_token_id] * len(piece)
        ids += [self.tokenizer.eos_token_id]
        ids += [self.tokenizer.pad_token_id] * (PROMPT_LENGTH - len(ids))

        def put_vectors(_embeddings, _ids, rows: Tensor) -> Tensor:
            return rows.index_copy(1, torch.tensor(positions, device=rows.device), torch.cat(vectors)[None].to(rows))

        hook = embeddings.register_forward_hook(put_vectors) if vectors else None
        try:
            return self.text_encoder(torch.tensor([ids], device=self.device)).last_hidden_state[0]
        finally:
            if hook is not None:
                hook.remove()
