"""Models of the Stable Diffusion 1.5 family by their sizes, and what diffusers and transformers call those."""

from dataclasses import dataclass

VOCABULARY = 49408
START, END = 49406, 49407
PROMPT_LENGTH = 77


@dataclass(frozen=True)
class ModelConfig:
    """The sizes that differ within the family.

    Attributes:
        channels: of each UNet level, outermost first.
        attention: which of these levels have it.
        text_width, text_layers, text_heads: of the text encoder.
        vae_channels: of each VAE level, outermost first; each but the last halves the picture.
        unet_blocks, vae_blocks: residual blocks of each level of the two.
        sample_size: of the pictures it was trained on, in latents.
        heads: of every attention of the UNet.
        scaling_factor: latents are the VAE's times this.
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    text_width: int
    text_layers: int
    text_heads: int
    vae_channels: tuple[int, ...]
    unet_blocks: int = 2
    vae_blocks: int = 2
    heads: int = 8
    sample_size: int = 64
    scaling_factor: float = 0.18215

    def unet(self) -> dict:
        """Arguments of diffusers' UNet2DConditionModel."""
        down = tuple("CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in self.attention)
        up = tuple("CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(self.attention))
        return {
            "sample_size": self.sample_size,
            "in_channels": 4,
            "out_channels": 4,
            "layers_per_block": self.unet_blocks,
            "block_out_channels": self.channels,
            "down_block_types": down,
            "up_block_types": up,
            "cross_attention_dim": self.text_width,
            "attention_head_dim": self.heads,  # diffusers' name for the number of heads
        }

    def controlnet(self) -> dict:
        """Arguments of diffusers' ControlNetModel."""
        unet = self.unet()
        return {
            name: unet[name]
            for name in (
                "in_channels",
                "layers_per_block",
                "block_out_channels",
                "down_block_types",
                "cross_attention_dim",
                "attention_head_dim",
            )
        }

    def vae(self) -> dict:
        """Arguments of diffusers' AutoencoderKL."""
        levels = len(self.vae_channels)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": 4,
            "layers_per_block": self.vae_blocks,
            "block_out_channels": self.vae_channels,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "scaling_factor": self.scaling_factor,
        }

    def text_encoder(self) -> dict:
        """Arguments of transformers' CLIPTextConfig."""
        return {
            "vocab_size": VOCABULARY,
            "hidden_size": self.text_width,
            "intermediate_size": 4 * self.text_width,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads,
            "max_position_embeddings": PROMPT_LENGTH,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": self.text_width,
            "bos_token_id": START,
            "eos_token_id": END,
            "pad_token_id": END,
        }


SD15 = ModelConfig((320, 640, 1280, 1280), (True, True, True, False), 768, 12, 12, (128, 256, 512, 512))
DEMO = ModelConfig(
    channels=(64, 128, 192),
    attention=(False, True, True),
    text_width=192,
    text_layers=4,
    text_heads=4,
    vae_channels=(64, 64, 128, 128),
    unet_blocks=1,
    vae_blocks=1,
    heads=4,
    sample_size=16,
)
