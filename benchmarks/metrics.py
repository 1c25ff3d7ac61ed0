"""What the scores of a clip cost beside making it: 16 frames, 8 reference photos, on the CPU.

Made: the 40 calls of Stable Diffusion 1.5's UNet that 20 steps with guidance take, by one of them, with random weights
and without motion module and VAE. Scored: all that `vcd evaluate` tells but faces, by networks of the sizes of CLIP
ViT-B/32 and DINO ViT-S/16. The clip that is made is of 128 pixels, so that it is cheap, and the one scored of 512.
"""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ViTConfig, ViTImageProcessor, ViTModel

from benchmarks.harness import alternating_medians, case, main
from vcd_core.metrics import ClipEmbedder, DinoEmbedder, Evaluator
from vcd_core.standalone.config import SD15
from vcd_core.standalone.tokenizer import clip_tokenizer

FRAMES, REFERENCES, STEPS, TARGET = 16, 8, 20, 0.1
PROMPT = "a photo of a woman on a beach"


def small_vit() -> ViTConfig:
    return ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)


def scoring():
    """Scores a clip of 512 pixels, from photos to report."""
    clip = ClipEmbedder(CLIPModel(CLIPConfig()).eval(), (CLIPImageProcessor(), clip_tokenizer()), "ViT-B/32")
    dino = DinoEmbedder(ViTModel(small_vit(), add_pooling_layer=False).eval(), ViTImageProcessor(), "ViT-S/16")
    generator = torch.Generator().manual_seed(0)
    photos = list(torch.rand(REFERENCES, 512, 512, 3, generator=generator))
    frames = torch.rand(FRAMES, 64, 64, 3, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    mask = torch.zeros(512, 512)
    mask[128:384, 128:384] = 1

    def score() -> None:
        evaluator = Evaluator(photos, [mask] * REFERENCES, prompt=PROMPT, unrelated=photos, clip=clip, dino=dino)
        evaluator.score(frames, [mask] * FRAMES)

    return score


@torch.no_grad()
def one_call_of_sd15():
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD15.unet()).eval()
    unet.to_empty(device="cpu")
    for weight in unet.parameters():
        weight.normal_(0, 0.02)
    latents, context = torch.randn(FRAMES, 4, 16, 16), torch.randn(FRAMES, 77, 768)

    @torch.no_grad()
    def call() -> Tensor:
        return unet(latents, torch.tensor(500), context).sample

    return call


def run() -> list[dict]:
    scores, call = alternating_medians(scoring(), one_call_of_sd15(), 1)
    return [case("16 frames, 8 photos", "s", scores, 2 * STEPS * call, TARGET)]


if __name__ == "__main__":
    main("metrics", run)
