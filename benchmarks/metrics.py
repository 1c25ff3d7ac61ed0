"""What the scores of a clip cost beside making it: 16 frames, 8 reference photos, on a GPU if there is one.

Made: with Stable Diffusion 1.5's UNet and motion modules, 20 steps with guidance, which take 40 calls, all of them
diffusers' with random weights. Scored: all that `vcd evaluate` tells but faces, by networks of the sizes of CLIP
ViT-B/32 and DINO ViT-S/16; of the photos once for all clips, or with them for each.

The clip that is scored is of 512 pixels. So is the one made on a GPU, in half precision and with its VAE; on the CPU it
is of 128, without VAE, and one call is made, so that it is cheap.
"""

import torch
from diffusers import AutoencoderKL, UNetMotionModel
from torch import nn
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ViTConfig, ViTImageProcessor, ViTModel

from benchmarks.harness import alternating_medians, case, main
from vcd_core.metrics import ClipEmbedder, DinoEmbedder, Evaluator
from vcd_core.standalone.config import SD15
from vcd_core.standalone.tokenizer import clip_tokenizer

FRAMES, REFERENCES, STEPS, ROUNDS, TARGET = 16, 8, 20, 3, 0.1
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
PROMPT = "a photo of a woman on a beach"


def small_vit() -> ViTConfig:
    return ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)


def scoring():
    """What scores a clip of 512 pixels, and what does so from the photos on."""
    readers = CLIPImageProcessor(), clip_tokenizer()
    clip = ClipEmbedder(CLIPModel(CLIPConfig()).eval().to(DEVICE), readers, "ViT-B/32")
    network = ViTModel(small_vit(), add_pooling_layer=False).eval().to(DEVICE)
    dino = DinoEmbedder(network, ViTImageProcessor(), "ViT-S/16")
    generator = torch.Generator().manual_seed(0)
    photos = list(torch.rand(REFERENCES, 512, 512, 3, generator=generator))
    frames = torch.rand(FRAMES, 64, 64, 3, generator=generator).repeat_interleave(8, 1).repeat_interleave(8, 2)
    mask = torch.zeros(512, 512)
    mask[128:384, 128:384] = 1

    def evaluator() -> Evaluator:
        return Evaluator(photos, [mask] * REFERENCES, prompt=PROMPT, unrelated=photos, clip=clip, dino=dino)

    def score(ready: Evaluator) -> None:
        ready.score(frames, [mask] * FRAMES)

    ready = evaluator()
    return lambda: score(ready), lambda: score(evaluator())


def of_random_weights(kind: type[nn.Module], config: dict, dtype: torch.dtype) -> nn.Module:
    with torch.device("meta"):
        network = kind(**config).eval().type(dtype)
    network.to_empty(device=DEVICE)
    for values in (*network.parameters(), *network.buffers()):
        nn.init.normal_(values, 0, 0.02)
    return network


def making(calls: int):
    """Makes a clip of Stable Diffusion 1.5's size, by so many calls of the UNet."""
    side, dtype = (64, torch.half) if DEVICE == "cuda" else (16, torch.float)
    unet = of_random_weights(UNetMotionModel, {"cross_attention_dim": 768, "use_motion_mid_block": False}, dtype)
    vae = of_random_weights(AutoencoderKL, SD15.vae(), dtype) if DEVICE == "cuda" else None
    options = {"device": DEVICE, "dtype": dtype}
    latents, context = torch.randn(1, 4, FRAMES, side, side, **options), torch.randn(FRAMES, 77, 768, **options)

    @torch.no_grad()
    def make() -> None:
        for _ in range(calls):
            made = unet(latents, torch.tensor(500, device=DEVICE), context).sample[0].transpose(0, 1)
        made = made if vae is None else torch.cat([vae.decode(frame[None]).sample for frame in made])
        made.cpu()  # which waits for a GPU

    return make


def run() -> list[dict]:
    calls = 2 * STEPS if DEVICE == "cuda" else 1
    make = making(calls)
    cases = []
    for name, scores in zip(("16 frames", "16 frames, 8 photos"), scoring(), strict=True):
        ours, peer = alternating_medians(scores, make, ROUNDS)
        cases.append(case(name, "s", ours, 2 * STEPS / calls * peer, TARGET))
    return cases


if __name__ == "__main__":
    main("metrics", run)
