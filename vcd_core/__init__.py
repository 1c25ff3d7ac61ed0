"""Video Custom Diffusion without a framework: noise, motion, identity tokens and samplers in plain PyTorch."""
