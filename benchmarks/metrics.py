"""What the scores of a clip cost beside making it: 16 frames, 8 reference photos, on the CPU.

Of the demo's model, clips of 128 pixels in 20 steps with guidance; the scores by its attribute reader and the optical
flow. Of Stable Diffusion 1.5, the 40 calls of its UNet that such a clip takes, by one of them, with random weights and
without motion module and VAE; all that `vcd evaluate` tells but faces, by networks of the sizes of CLIP ViT-B/32 and
DINO ViT-S/16. There the clip that is made is of 128 pixels, so that it is cheap, and the one that is scored of 512.
"""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ViTConfig, ViTImageProcessor, ViTModel

from benchmarks.harness import alternating_medians, case, main
from demo.measure import AttributeEmbedder
from demo.people import PHOTOS
from demo.weights import WEIGHTS, load_eyes
from vcd_core.identity import load_photos
from vcd_core.metrics import ClipEmbedder, DinoEmbedder, Evaluator
from vcd_core.pictures import enlarged
from vcd_core.standalone.config import SD15
from vcd_core.standalone.demo_model import load_demo_model, load_demo_motion
from vcd_core.standalone.pipeline import ClipOptions, make_clip
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


def making_demo_clip():
    model, motion = load_demo_model(WEIGHTS), load_demo_motion(WEIGHTS)
    options = ClipOptions(FRAMES, 128, STEPS, 5.0, gamma=0.1, seed=0)
    return lambda: make_clip(model, [PROMPT], [""], options, motion)


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


def scoring_demo_clip():
    reader = AttributeEmbedder(load_eyes())
    photos = [photo.image for name in ("mia", "otto") for photo in load_photos(PHOTOS / name)][:REFERENCES]
    frames = torch.cat([enlarged(photos[number % REFERENCES][None], (128, 128)) for number in range(FRAMES)])
    return lambda: Evaluator(photos, face=reader).score(frames)


def run() -> list[dict]:
    demo = alternating_medians(scoring_demo_clip(), making_demo_clip(), 1)
    scores, call = alternating_medians(scoring(), one_call_of_sd15(), 1)
    return [
        case("demo model, 128 pixels", "s", *demo, TARGET),
        case("Stable Diffusion 1.5", "s", scores, 2 * STEPS * call, TARGET),
    ]


if __name__ == "__main__":
    main("metrics", run)
