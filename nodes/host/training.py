"""Training an ID token inside ComfyUI: the core's port over ComfyUI's own UNet and text encoder.

ComfyUI runs nodes in inference mode, with weights made there, and its text encoder changes tensors in place. So
training leaves inference mode, makes the weights ordinary tensors (one at a time, in place, no second copy of the
model), and keeps copies of what the text encoder overwrites. The encoder that trains is the very one that encodes
prompts later.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import comfy.model_base
import comfy.model_management
import torch
from comfy.ldm.modules.attention import SpatialTransformer, attention_pytorch
from comfy.ldm.modules.diffusionmodules.openaimodel import ResBlock, UNetModel
from comfy.model_patcher import ModelPatcher
from comfy.model_sampling import EPS, V_PREDICTION, X0, ModelSamplingDiscrete
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...vcd_core.identity import PLACEHOLDER, weights_sample
from ...vcd_core.sampling import DiscreteSchedule
from .motion import TIMESTEPS, without_motion_module


class ComfyDenoiser:
    """`vcd_core.identity.TextConditionedDenoiser` over a ComfyUI MODEL and CLIP."""

    def __init__(self, model: ModelPatcher, clip) -> None:
        check_family(model, clip)
        self.model = _for_training(model)
        self.clip = clip.clone()
        self.clip.patcher = _for_training(self.clip.patcher)
        self.clip.cond_stage_model = self.clip.patcher.model
        (empty,) = self._tokenize("")
        (self.start, _), (self.end, _), *_, (self.padding, _) = empty
        self.length = len(empty)

    @contextmanager
    def gradients(self, *, recompute: bool = False) -> Iterator[None]:
        """Within it the models are loaded and differentiable.

        Args:
            recompute: do not keep the activations inside the UNet's blocks, but compute them again for the backward
                pass: a third slower, a fraction of the memory.
        """
        with torch.inference_mode(False), torch.enable_grad():
            self._load()
            with _recomputed(self.model.model.diffusion_model if recompute else nn.Identity()):
                yield

    def _load(self) -> None:
        with torch.inference_mode():
            self._load_models()
        _make_weights_ordinary(self.model.model)
        _make_weights_ordinary(self.clip.cond_stage_model)

    def _load_models(self) -> None:
        # Training keeps every activation, so ask for more room than inference would.
        comfy.model_management.load_models_gpu(
            [self.model, self.clip.patcher], memory_required=1e20, force_full_load=True
        )

    def decode(self, vae, latents: Tensor) -> Tensor:
        """(1, 4, h, w) -> (H, W, 3) in [0, 1]; what the VAE displaced from memory is there again afterwards."""
        with torch.inference_mode():
            picture = vae.decode(self.model.model.process_latent_out(latents))[0].float().cpu()
        self._load()
        return picture

    def fingerprint_parts(self, vae) -> list:
        """What tells these models from others as they are used now: weights with LoRAs, the VAE's, and clip skip.

        Of the text encoder's weights those that make its states: ComfyUI leaves a projection it does not use as memory
        happened to be.
        """
        with torch.inference_mode():
            self._load_models()
        encoder = getattr(self.clip.cond_stage_model, self.clip.cond_stage_model.clip)
        models = self.model.model.diffusion_model, encoder.transformer.text_model, vae.first_stage_model
        return [self.clip.layer_idx, weights_sample(*models)]

    def embed_words(self, words: str) -> Tensor:
        ids = self._word_ids(words)
        if not ids:
            raise ValueError("the class noun is empty: give a word for what the subject is, such as woman or cat")
        encoder = self.clip.cond_stage_model
        embeddings = getattr(encoder, encoder.clip).transformer.get_input_embeddings()
        return embeddings.weight[ids].detach().float().cpu().clone()

    def encode_prompt(self, prompt: str, learned: Tensor) -> Tensor:
        before, subject, after = prompt.partition(PLACEHOLDER)
        tokens = [*self._word_ids(before), *(learned if subject else ()), *self._word_ids(after)]
        if len(tokens) > self.length - 2:
            raise ValueError(
                f"the prompt {prompt!r} has {len(tokens)} tokens, {len(learned)} of them learned, the text encoder "
                f"takes {self.length - 2}: shorten the noun or the photo's caption"
            )
        row = [self.start, *tokens, self.end]
        row += [self.padding] * (self.length - len(row))
        with torch.autograd.graph.saved_tensors_hooks(_keep_activation, lambda kept: kept):
            encoded = self.clip.encode_from_tokens({"l": [[(token, 1.0) for token in row]]})
        return encoded[0].to(self.model.load_device)

    def predict_noise(self, noised: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        comfy.model_management.throw_exception_if_processing_interrupted()
        base = self.model.model
        dtype = base.manual_cast_dtype or base.get_dtype()
        unet: UNetModel = base.diffusion_model
        return unet(
            noised.to(dtype),
            timesteps.float(),
            context=context.to(dtype),
            transformer_options={"optimized_attention_override": _pytorch_attention},
        ).float()

    def _word_ids(self, text: str) -> list[int]:
        """Token ids without the start, end and padding around them."""
        ids = [token for chunk in self._tokenize(text) for token, _ in chunk]
        return [token for token in ids if token not in (self.start, self.end, self.padding)]

    def _tokenize(self, text: str) -> list[list[tuple[int, float]]]:
        return self.clip.tokenize(text)["l"]


def check_family(model: ModelPatcher, clip) -> None:
    """Raises ValueError unless MODEL and CLIP are of the Stable Diffusion 1.5 family and fit each other."""
    kind = type(model.model).__name__
    config = model.model.model_config.unet_config
    encoder = clip.cond_stage_model
    width = None
    if getattr(encoder, "clip", None) == "clip_l":
        width = encoder.clip_l.transformer.get_input_embeddings().weight.shape[1]
    fits = (
        isinstance(model.get_model_object("diffusion_model"), UNetModel)
        and model.model.model_type == comfy.model_base.ModelType.EPS
        and config.get("context_dim") == width
        and config.get("in_channels") == 4
    )
    if not fits:
        raise ValueError(
            f"model and clip must come from one checkpoint of the Stable Diffusion 1.5 family; the model is a {kind} "
            f"(context {config.get('context_dim')}) and the clip a {type(encoder).__name__}. "
            "Load a Stable Diffusion 1.5 checkpoint"
        )


def noise_levels(model: ModelPatcher) -> DiscreteSchedule:
    """Those that the model was trained on.

    Raises:
        ValueError: an earlier node made another thing of them (LCM, EDM), or takes the model's answer for another than
            noise.
    """
    sampling = model.get_model_object("model_sampling")
    is_own = (
        isinstance(sampling, ModelSamplingDiscrete)
        and isinstance(sampling, EPS)
        and not isinstance(sampling, V_PREDICTION | X0)
        and len(sampling.sigmas) == TIMESTEPS
    )
    if not is_own:
        raise ValueError(
            "an earlier node changed how the model is sampled "
            f"({', '.join(kind.__name__ for kind in type(sampling).__bases__)}): connect the checkpoint's own model"
        )
    return DiscreteSchedule(sampling.sigmas.clone())


def check_vae(vae) -> None:
    """Raises ValueError unless the VAE's latents have the shape of Stable Diffusion 1.5's: 4 channels, an eighth."""
    shape = vae.latent_channels, vae.latent_dim, vae.downscale_ratio
    if vae.first_stage_model is None or shape != (4, 2, 8):
        raise ValueError(
            f"the VAE gives latents of {vae.latent_channels} channels for another family of models: connect the VAE of "
            "the Stable Diffusion 1.5 checkpoint, or vae-ft-mse-840000"
        )


def encode_latents(model: ModelPatcher, vae, images: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) in [-1, 1] as the model's scaled latents (N, 4, S/8, S/8), on its device.

    One by one: ComfyUI would choose how many at a time by the memory that is free, and with it their last digits.
    """
    encoded = []
    for image in images.movedim(1, -1).split(1):
        comfy.model_management.throw_exception_if_processing_interrupted()
        encoded.append(vae.encode(image * 0.5 + 0.5))
    latents = torch.cat(encoded)
    return model.model.process_latent_in(latents).to(model.load_device, torch.float32)


def _for_training(patcher: ModelPatcher) -> ModelPatcher:
    """A clone whose weights are all there (not streamed in layer by layer), without a motion module."""
    if getattr(patcher, "is_dynamic", lambda: False)():
        patcher = patcher.get_non_dynamic_delegate()
    return without_motion_module(patcher)


def _make_weights_ordinary(model: nn.Module) -> None:
    """Replaces each tensor that was made in inference mode, in place, by an equal one that autograd can use."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_inference():
                setattr(module, name, nn.Parameter(parameter.detach().clone(), requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_inference():
                setattr(module, name, buffer.clone())


@contextmanager
def _recomputed(unet: nn.Module) -> Iterator[None]:
    """Gradient checkpointing of every residual and attention block, of these instances and within it alone."""
    blocks = [module for module in unet.modules() if isinstance(module, ResBlock | SpatialTransformer)]
    others = [vars(block).get("forward") for block in blocks]  # by which another pack changes a block
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block, other in zip(blocks, others, strict=True):
            if other is None:
                del block.forward
            else:
                block.forward = other


def _keep_activation(tensor: Tensor) -> Tensor:
    """Saves a copy of an activation (B, L, D) for the backward pass, because the encoder adds to these in place.

    Weights, with fewer axes, and attention's heads and mask, with more, do not change. A copy of the mask would fail on
    NVIDIA GPUs: it is a view of one with padded rows, where their kernels want each row to begin, and a copy has none.
    """
    return tensor.clone() if tensor.ndim == 3 else tensor


def _pytorch_attention(_chosen, *args, **kwargs) -> Tensor:
    """Other attention backends may have no backward pass."""
    return attention_pytorch(*args, **kwargs)
