"""GroundingDINO (arXiv:2303.05499): the boxes of what words name."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..pretrained import CONFIG, PROCESSOR, TOKENIZER, WEIGHTS, Layout, load_pretrained
from .segmentation import Finding

FILES = f"{CONFIG}, {WEIGHTS}, {PROCESSOR}, {TOKENIZER}, tokenizer_config.json"
LAYOUT = Layout(
    "GroundingDINO",
    {"grounding-dino"},
    FILES,
    ((CONFIG,), (WEIGHTS,), (PROCESSOR,), (TOKENIZER, "vocab.txt")),
    "IDEA-Research/grounding-dino-base",
)


class GroundingDino(nn.Module):
    """A `BoxDetector`.

    Args:
        network: transformers' GroundingDinoForObjectDetection.
        processor: what turns a picture and words into the network's inputs.
    """

    def __init__(self, network: nn.Module, processor) -> None:
        super().__init__()
        self.network = network
        self.processor = processor

    @torch.no_grad()
    def detect(self, image: Tensor, prompt: str, box_threshold: float, text_threshold: float) -> list[Finding]:
        """What the prompt names; several things are separated by full stops: "a cat. a dog".

        Raises:
            ValueError: the prompt is longer than the network takes.
        """
        device = self.network.device
        words = self.processor.tokenizer(_sentence(prompt), return_tensors="pt").to(device)
        tokens = words["input_ids"][0]
        most = self.network.config.max_text_len
        if len(tokens) > most:
            raise ValueError(
                f"the prompt has {len(tokens)} tokens, GroundingDINO takes {most}: name the subject in a few words"
            )
        # The axes are named because the processor would take a picture 3 pixels high for one with channels first.
        picture = self.processor.image_processor(
            images=(image.clamp(0, 1) * 255).round().byte().cpu().numpy(),
            input_data_format="channels_last",
            return_tensors="pt",
        ).to(device)
        outputs = self.network(**picture, **words)
        scores = outputs.logits[0, :, : len(tokens)].sigmoid().float().cpu()
        height, width = image.shape[:2]
        limits = torch.tensor([width, height, width, height])
        boxes = (_corners(outputs.pred_boxes[0].float().cpu()) * limits).clamp(min=0).minimum(limits)
        is_word = torch.tensor([token not in self._punctuation() for token in tokens.tolist()])

        found = []
        for box, score in zip(boxes, scores, strict=True):
            matched = is_word & (score > text_threshold)
            if score.max() > box_threshold and matched.any():
                label = self.processor.tokenizer.decode(tokens[matched.to(device)])
                found.append(Finding(tuple(box.tolist()), score.max().item(), label))
        return found

    def _punctuation(self) -> set[int]:
        tokenizer = self.processor.tokenizer
        return {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids([".", "?"])}


def load_grounding_dino(source: Path | str, size: int | None = None) -> GroundingDino:
    """GroundingDINO in float32 and evaluation mode. Only safetensors weights are read, and no code of the folder's.

    Args:
        source: a folder as `save_pretrained` writes it (a Path), or the id of such a repository on the Hugging Face
            hub (a str, "IDEA-Research/grounding-dino-base"), which is taken from the local cache or downloaded to it.
        size: pixels of the longer side that it sees of a picture; None as its files say, published as 800 for the
            shorter side, but at most 1333 for the longer.

    Raises:
        ValueError: a file is missing or damaged, or it is another model; the message says which, and what to do.
        ImportError: transformers is not installed or too old.
    """
    network, processor = load_pretrained(source, LAYOUT, _read)
    if size is not None:
        processor.image_processor.size = {"shortest_edge": size, "longest_edge": size}
    return GroundingDino(network, processor)


def _read(source: Path | str, kind: str, options: Mapping) -> tuple[nn.Module, Mapping, object]:
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    local = options["local_files_only"]
    network, report = GroundingDinoForObjectDetection.from_pretrained(
        source, local_files_only=local, use_safetensors=True, output_loading_info=True
    )
    return network, report, AutoProcessor.from_pretrained(source, **options)


def _sentence(prompt: str) -> str:
    """As the network was trained: small letters, a full stop at the end."""
    return prompt.strip(" .\t\n").lower() + "."


def _corners(boxes: Tensor) -> Tensor:
    """(N, 4) centre x, y, width, height -> (N, 4) x0, y0, x1, y1."""
    middle, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([middle - half, middle + half], dim=1)
