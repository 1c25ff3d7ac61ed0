"""CLIP (arXiv:2103.00020), DINO (arXiv:2104.14294) and DINOv2 (arXiv:2304.07193) as transformers has them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..pictures import in_threads
from ..pretrained import CONFIG, PROCESSOR, TOKENIZER, WEIGHTS, Layout, load_pretrained

OLD_WEIGHTS = "pytorch_model.bin"
BATCH = 16  # pictures at once

CLIP = Layout(
    "CLIP",
    {"clip"},
    f"{CONFIG}, {WEIGHTS} or {OLD_WEIGHTS}, {PROCESSOR}, {TOKENIZER}, tokenizer_config.json",
    ((CONFIG,), (WEIGHTS, OLD_WEIGHTS), (PROCESSOR,), (TOKENIZER, "vocab.json")),
    "openai/clip-vit-base-patch32",
)
DINO = Layout(
    "DINO",
    {"vit", "dinov2", "dinov2_with_registers"},
    f"{CONFIG}, {WEIGHTS} or {OLD_WEIGHTS}, {PROCESSOR}",
    ((CONFIG,), (WEIGHTS, OLD_WEIGHTS), (PROCESSOR,)),
    "facebook/dino-vits16",
)


class ClipEmbedder(nn.Module):
    """A TextEmbedder: CLIP's projected features.

    Args:
        network: transformers' CLIPModel.
        processors: its image processor and its tokenizer.
        name: of the network, for reports.
    """

    def __init__(self, network: nn.Module, processors: tuple, name: str) -> None:
        super().__init__()
        self.network = network
        self.image_processor, self.tokenizer = processors
        self.name = name

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        return _in_batches(self, images, self.network.get_image_features)

    @torch.no_grad()
    def embed_text(self, text: str) -> Tensor:
        words = self.tokenizer(text, return_tensors="pt", verbose=False)
        count, most = words["input_ids"].shape[1], self.network.config.text_config.max_position_embeddings
        if count > most:
            raise ValueError(f"the prompt has {count} tokens, {self.name} takes {most}: shorten it")
        return self.network.get_text_features(**words.to(self.network.device))[0].float().cpu()


class DinoEmbedder(nn.Module):
    """An Embedder: what DINO's class token becomes, after the last norm.

    Args:
        network: transformers' ViTModel, Dinov2Model or Dinov2WithRegistersModel.
        processor: its image processor.
        name: of the network, for reports.
    """

    def __init__(self, network: nn.Module, processor, name: str) -> None:
        super().__init__()
        self.network = network
        self.image_processor = processor
        self.name = name

    def embed_images(self, images: Sequence[Tensor]) -> Tensor:
        return _in_batches(self, images, lambda pixels: self.network(pixels).last_hidden_state[:, 0])


def load_clip(source: Path | str) -> ClipEmbedder:
    """CLIP from a folder (a Path) or a Hugging Face id (a str, "openai/clip-vit-base-patch32").

    Raises:
        ValueError, ImportError: as `load_pretrained`.
    """
    network, processors = load_pretrained(source, CLIP, _read_clip)
    return ClipEmbedder(network, processors, _name(source, network.config.vision_config))


def load_dino(source: Path | str) -> DinoEmbedder:
    """DINO or DINOv2 from a folder (a Path) or a Hugging Face id (a str, "facebook/dino-vits16").

    Nothing in such a folder tells DINO's vision transformer from one that was trained otherwise: reports name it.

    Raises:
        ValueError, ImportError: as `load_pretrained`.
    """
    network, processor = load_pretrained(source, DINO, _read_dino)
    return DinoEmbedder(network, processor, _name(source, network.config))


def _read_clip(source: Path | str, kind: str, options: Mapping) -> tuple[nn.Module, Mapping, object]:
    from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

    local = options["local_files_only"]
    network, report = CLIPModel.from_pretrained(
        source, local_files_only=local, weights_only=True, output_loading_info=True
    )
    # The processors that resize by Pillow, as the networks were trained, and not by torchvision.
    processors = (
        AutoImageProcessor.from_pretrained(source, use_fast=False, **options),
        AutoTokenizer.from_pretrained(source, **options),
    )
    return network, report, processors


def _read_dino(source: Path | str, kind: str, options: Mapping) -> tuple[nn.Module, Mapping, object]:
    from transformers import AutoImageProcessor, AutoModel

    without_head = {"add_pooling_layer": False} if kind == "vit" else {}
    network, report = AutoModel.from_pretrained(
        source, weights_only=True, output_loading_info=True, **without_head, **options
    )
    return network, report, AutoImageProcessor.from_pretrained(source, use_fast=False, **options)


def _name(source: Path | str, config) -> str:
    """The source, and what its config says: two folders can have the same name."""
    name = source.name if isinstance(source, Path) else source
    return f"{name} ({config.num_hidden_layers} layers of {config.hidden_size}, patches of {config.patch_size})"


@torch.no_grad()
def _in_batches(
    embedder: ClipEmbedder | DinoEmbedder, images: Sequence[Tensor], features: Callable[[Tensor], Tensor]
) -> Tensor:
    def prepared(picture: np.ndarray) -> np.ndarray:
        pixels = (picture.clip(0, 1) * 255).round().astype(np.uint8)
        # The axes are named because the processor would take a picture 3 pixels high for one with channels first.
        return embedder.image_processor(images=pixels, input_data_format="channels_last")["pixel_values"][0]

    rows = []
    for start in range(0, len(images), BATCH):
        pictures = in_threads(prepared, [image.float().cpu().numpy() for image in images[start : start + BATCH]])
        if len({picture.shape for picture in pictures}) > 1:
            raise ValueError(
                f"{embedder.name} leaves pictures at several sizes: let its {PROCESSOR} crop them (do_center_crop)"
            )
        rows.append(features(torch.from_numpy(np.stack(pictures)).to(embedder.network.device)).float().cpu())
    return torch.cat(rows)
