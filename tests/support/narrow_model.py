"""The sizes of the smallest model that has every part of Stable Diffusion 1.5's."""

from vcd_core.standalone.config import ModelConfig

NARROW = ModelConfig((32, 64), (True, False), 32, 2, 4, (32, 32, 32, 32), vae_blocks=1)
