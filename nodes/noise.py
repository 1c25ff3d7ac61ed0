"""Correlated noise, alone and inside a sampler."""

import comfy.samplers
from comfy_api.latest import io

from .host.noise import CorrelatedNoiseSource
from .host.sampling import Sampling, sample_with_correlated_noise

GAMMA = {"min": 0.0, "max": 1.0, "step": 0.01}
MAX_SEED = 0xFFFFFFFFFFFFFFFF


def sampling_inputs(sampler: str, scheduler: str) -> list[io.Input]:
    """KSampler's, with these defaults."""
    return [
        io.Int.Input(
            "seed",
            default=0,
            min=0,
            max=MAX_SEED,
            control_after_generate=True,
            tooltip="The same seed gives the same clip.",
        ),
        io.Int.Input(
            "steps",
            default=20,
            min=1,
            max=10000,
            tooltip="Denoising steps. 20-25 are usual.",
        ),
        io.Float.Input(
            "cfg",
            default=8.0,
            min=0.0,
            max=100.0,
            step=0.1,
            round=0.01,
            tooltip="How strictly the prompt is followed. 6-8 is usual; 1 ignores the negative prompt.",
        ),
        io.Combo.Input(
            "sampler_name",
            options=comfy.samplers.KSampler.SAMPLERS,
            default=sampler,
            tooltip="Any of ComfyUI's samplers.",
        ),
        io.Combo.Input(
            "scheduler",
            options=comfy.samplers.KSampler.SCHEDULERS,
            default=scheduler,
            tooltip="Any of ComfyUI's schedulers.",
        ),
    ]


class CorrelatedNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_CorrelatedNoise",
            display_name="3D Gaussian Noise (VCD)",
            category="VCD/noise",
            description="Starting noise whose neighbouring frames resemble each other, for any sampler that takes "
            "NOISE. Works on frame batches and on the latents of newer video models.",
            inputs=[
                io.Int.Input(
                    "noise_seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=True,
                    tooltip="The same seed gives the same noise, on every device.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.1,
                    **GAMMA,
                    tooltip="How much of a frame's noise the next one repeats. 0: ordinary noise. 0.1-0.2: calmer "
                    "video. 1: the same noise in every frame.",
                ),
            ],
            outputs=[io.Noise.Output()],
        )

    @classmethod
    def execute(cls, noise_seed: int, gamma: float) -> io.NodeOutput:
        return io.NodeOutput(CorrelatedNoiseSource(noise_seed, gamma))


class VCDSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_Sampler",
            display_name="Sampler with 3D Noise (VCD)",
            category="VCD/noise",
            description="KSampler with correlated frames: gamma shapes the starting noise and, where the sampler adds "
            "noise at every step (ancestral and SDE samplers), that noise too.",
            inputs=[
                io.Model.Input("model", tooltip="The model that denoises, usually with a motion module."),
                *sampling_inputs(sampler="dpmpp_2m", scheduler="karras"),
                io.Conditioning.Input("positive", tooltip="What the clip shows, with embedding:NAME and the noun."),
                io.Conditioning.Input("negative", tooltip="What it must not show."),
                io.Latent.Input("latent_image", tooltip="The clip to denoise, its frames as a batch."),
                io.Float.Input(
                    "denoise",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="1 makes a new clip; less keeps more of the one that came in.",
                ),
                io.Float.Input(
                    "gamma",
                    default=0.1,
                    **GAMMA,
                    tooltip="How much of a frame's noise the next one repeats. 0: as KSampler. 0.1-0.2: calmer "
                    "video. 1: the same noise in every frame.",
                ),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, latent_image: dict, denoise: float, gamma: float, **sampling) -> io.NodeOutput:
        return io.NodeOutput(sample_with_correlated_noise(Sampling(**sampling), latent_image, denoise, gamma))


NODES = [CorrelatedNoise, VCDSampler]
