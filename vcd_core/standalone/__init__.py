"""The core without ComfyUI: Stable Diffusion 1.5 from diffusers' and transformers' parts, and the command line.

Nothing is imported here, so that `vcd --help` is there at once. Where things are:

    config        ModelConfig: the sizes of a model; SD15 and DEMO
    checkpoint    load_checkpoint: one file -> StableDiffusion
    demo_model    load_demo_model, load_demo_motion: the small model that ships; weights_folder checks its files
    model         StableDiffusion: the ports encode, decode, denoiser, and those that training needs
    prompts       parse_prompt: resolves embedding:NAME from a folder
    motion        inserted_motion: a motion module inside a diffusers UNet
    pipeline      train_token and make_clip, with progress bars
    controlnet    load_controlnet: ControlNets and their hints
    cli           the command line: its exit codes; parser, shared_options and argument_values say what can be given,
                  commands, clip_commands and batch do its work, console and record talk and note
"""
