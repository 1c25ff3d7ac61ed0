"""Training an ID token."""

from comfy_api.latest import io, ui

from ..vcd_core.identity import Augmentation, Recipe, TrainingOptions, check_token_name
from .host.token_training import OWN_SCHEDULE, RELEASED_SCHEDULE, train_token
from .noise import MAX_SEED
from .sockets import IDTokenSocket, LossMap, Photos

PATIENCE = 3


class TrainIDToken(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_TrainIDToken",
            display_name="Train ID Token (VCD)",
            category="VCD/identity",
            description="Learns a few token vectors that mean this one subject. The result is a small file in the "
            "embeddings folder that works in any prompt and with any Stable Diffusion 1.5 checkpoint.",
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Stable Diffusion 1.5 itself transfers best to other checkpoints. It is not changed.",
                ),
                io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint. It is not changed."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                Photos.Input("photos", tooltip="From Load Identity Photos (VCD) or Segment by Prompt (VCD)."),
                io.String.Input(
                    "name",
                    default="ava",
                    tooltip="The name in prompts, embedding:NAME, and of the file. Letters, digits, - and _.",
                ),
                io.String.Input(
                    "noun",
                    default="woman",
                    tooltip="What the subject is, in a word or two: woman, man, cat, teapot. Training starts from it.",
                ),
                io.Int.Input(
                    "steps",
                    default=200,
                    min=1,
                    max=10000,
                    tooltip="200 is the paper's. More holds on to the photos, and in the end to their backgrounds.",
                ),
                io.Int.Input(
                    "batch_size",
                    default=4,
                    min=1,
                    max=64,
                    tooltip="Pictures a step. Less learns more noisily. A batch that does not fit into memory is "
                    "split by itself.",
                ),
                io.Float.Input(
                    "learning_rate",
                    default=1e-3,
                    min=1e-6,
                    max=1.0,
                    step=1e-5,
                    round=1e-6,
                    tooltip="0.001 is the paper's. Lower it if training diverges.",
                ),
                io.Int.Input(
                    "token_count",
                    default=4,
                    min=1,
                    max=16,
                    tooltip="How many vectors stand for the subject. 4 is the paper's.",
                ),
                io.Int.Input(
                    "resolution",
                    default=512,
                    min=64,
                    max=1024,
                    step=64,
                    tooltip="Photos are cropped around the subject and resized to this square. 512 is Stable Diffusion "
                    "1.5's own.",
                ),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    control_after_generate=False,  # or the page would retrain at every run
                    tooltip="The same seed and photos give the same token.",
                ),
                io.Boolean.Input(
                    "overwrite",
                    default=False,
                    tooltip="Replace an existing file of this name. Off: a token of the same photos and settings is "
                    "used as it is, any other keeps its name and the new one gets a number, as in ava_2.",
                ),
                io.Boolean.Input(
                    "augment",
                    default=True,
                    optional=True,
                    tooltip="Show the photos also mirrored, turned, nearer and farther. Off: as they are and mirrored.",
                ),
                io.Boolean.Input(
                    "hold_norm",
                    default=False,
                    optional=True,
                    tooltip="Keep the vectors as long as they begin. Turn it on when clips ignore the place that the "
                    "prompt names: longer vectors drown its other words.",
                ),
                io.Float.Input(
                    "context_weight",
                    default=0.0,
                    min=0.0,
                    max=10.0,
                    step=0.1,
                    optional=True,
                    tooltip="Teaches the token to leave the surroundings to the rest of the prompt. 1 is good; a step "
                    "then takes half as long again. 0: the paper's loss alone.",
                ),
                io.Boolean.Input(
                    "early_stop",
                    default=False,
                    optional=True,
                    tooltip="Hold the last photo out, stop when the token fits it no better, and use the best.",
                ),
                io.Boolean.Input(
                    "save_memory",
                    default=True,
                    optional=True,
                    tooltip="Compute activations again instead of keeping them: a third slower, and at 512 pixels half "
                    "a GiB less memory, 2 GiB less with batch_size 4. Turn it off where memory is plenty.",
                ),
                io.Int.Input(
                    "sample_every",
                    default=50,
                    min=0,
                    max=10000,
                    optional=True,
                    tooltip="Draw a sample on the node after so many steps, always from the same noise. 0: never.",
                ),
                io.String.Input(
                    "initial_words",
                    default="",
                    optional=True,
                    tooltip="Words whose meaning the token starts from. Empty: the noun's. ktn pll ucd mean nothing.",
                ),
                io.Combo.Input(
                    "schedule",
                    options=[OWN_SCHEDULE, RELEASED_SCHEDULE],
                    default=OWN_SCHEDULE,
                    optional=True,
                    tooltip="Noise levels to train on. The method's released code takes linear ones, which are not "
                    "those of Stable Diffusion 1.5; only for comparison.",
                ),
                io.Float.Input(
                    "mask_margin",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.005,
                    optional=True,
                    tooltip="How much masks grow, in parts of the cropped square's side, so that the subject's outline "
                    "is learned too. 0.125 is good where context_weight keeps the surroundings out. 0: the masks as "
                    "they are.",
                ),
                io.Float.Input(
                    "decay",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="The last part of the steps, over which the learning rate falls to nothing: 0.6 is "
                    "steadier than a rate that stays. 0: it stays, as in the paper.",
                ),
            ],
            outputs=[
                IDTokenSocket.Output(display_name="token"),
                io.String.Output(display_name="prompt"),
                LossMap.Output(display_name="loss"),
            ],
        )

    @classmethod
    def validate_inputs(cls, name: str | None) -> bool | str:
        try:
            if name is not None:  # a link will name it
                check_token_name(name)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def execute(
        cls,
        model,
        clip,
        vae,
        photos,
        name: str,
        noun: str,
        steps: int,
        batch_size: int,
        learning_rate: float,
        token_count: int,
        resolution: int,
        seed: int,
        overwrite: bool,
        augment: bool = True,
        hold_norm: bool = False,
        context_weight: float = 0.0,
        early_stop: bool = False,
        save_memory: bool = True,
        sample_every: int = 50,
        initial_words: str = "",
        schedule: str = OWN_SCHEDULE,
        mask_margin: float = 0.0,
        decay: float = 0.0,
    ) -> io.NodeOutput:
        recipe = Recipe(
            noun.strip(),
            resolution,
            token_count,
            initial_words,
            Augmentation() if augment else None,
            early_stop,
            TrainingOptions(
                steps,
                batch_size,
                learning_rate,
                hold_norm=hold_norm,
                context_weight=context_weight,
                seed=seed,
                patience=PATIENCE if early_stop else 0,
                decay=decay,
            ),
            mask_margin,
        )
        trained = train_token(
            model,
            clip,
            vae,
            photos,
            recipe,
            check_token_name(name),
            overwrite=overwrite,
            save_memory=save_memory,
            sample_every=sample_every,
            schedule=schedule,
        )
        shown = ui.PreviewText("\n".join(trained.report)).as_dict()
        shown["vcd_token"] = [trained.card]
        return io.NodeOutput(trained.token, trained.prompt, {"loss": trained.losses}, ui=shown)


NODES = [TrainIDToken]
