"""From photos to an ID token."""

from datetime import date

import torch
from comfy import model_management
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ..vcd_core.identity import (
    IDToken,
    TrainingDiverged,
    TrainingOptions,
    check_token_name,
    initial_vectors,
    load_id_token,
    load_photos,
    save_id_token,
    save_partial_id_token,
    train_id_token,
    training_images,
    training_prompts,
)
from ..vcd_core.sampling import DiscreteSchedule
from .convert import contact_sheet, photos_from_batch
from .host.folders import (
    EMBEDDINGS,
    check_model_file,
    check_photo_folder,
    embeddings_folder,
    model_path,
    photo_folder,
    photo_folders,
    token_files,
)
from .host.prompts import clip_with_token
from .host.training import ComfyDenoiser, encode_latents
from .noise import MAX_SEED
from .sockets import IDTokenSocket, LossMap, Photos

NO_FOLDER = NO_FILE = "(none)"


class LoadIdentityPhotos(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadIdentityPhotos",
            display_name="Load Identity Photos (VCD)",
            category="VCD/identity",
            description="5-10 photos of one person, animal or thing, from a folder, from images, or both. Four drawn "
            "characters come with the pack.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=[NO_FOLDER, *photo_folders()],
                    default=NO_FOLDER,
                    tooltip="A folder of photos inside ComfyUI's input folder: jpg, png, webp, bmp, tiff. A cut-out "
                    "with a transparent background is its own mask; a .txt file of the same name is its caption. "
                    "demo://… are characters that come with the pack, for its demo model.",
                ),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="Photos from other nodes, added to those of the folder.",
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="White where the subject is, one for each image. Without it the whole photo counts.",
                ),
            ],
            outputs=[Photos.Output(display_name="photos")],
        )

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        return folder == NO_FOLDER or check_photo_folder(folder)

    @classmethod
    def fingerprint_inputs(cls, folder: str, **_) -> list[tuple]:
        if folder in (NO_FOLDER, None):
            return []
        files = sorted(path for path in photo_folder(folder).iterdir() if path.is_file())
        return [(path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files]

    @classmethod
    def execute(cls, folder: str, images=None, masks=None) -> io.NodeOutput:
        photos = [] if folder == NO_FOLDER else load_photos(photo_folder(folder))
        if images is not None:
            photos += photos_from_batch(images, masks)
        if not photos:
            raise ValueError("there are no photos: choose a folder or connect images, 5-10 of one subject")
        return io.NodeOutput(photos)


class TrainIDToken(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_TrainIDToken",
            display_name="Train ID Token (VCD)",
            category="VCD/identity",
            description="Learns a few token vectors that mean this one subject. The result is a 12 KB file in the "
            "embeddings folder that works in any prompt and with any Stable Diffusion 1.5 checkpoint.",
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    tooltip="Stable Diffusion 1.5 itself transfers best to other checkpoints. It is not changed.",
                ),
                io.Clip.Input("clip", tooltip="The CLIP of the same checkpoint. It is not changed."),
                io.Vae.Input("vae", tooltip="The VAE of the same checkpoint."),
                Photos.Input("photos", tooltip="From Load Identity Photos (VCD)."),
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
                    tooltip="Photos a step. Less needs less memory and learns more noisily.",
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
                    tooltip="Replace an existing file of this name. Off: training does not start if there is one.",
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
    ) -> io.NodeOutput:
        path = embeddings_folder() / f"{check_token_name(name)}.safetensors"
        if path.exists() and not overwrite:
            raise ValueError(f"{path} exists already: choose another name, or turn overwrite on")
        noun = noun.strip()
        denoiser = ComfyDenoiser(model, clip)
        images, masks = training_images(photos, resolution)
        latents = encode_latents(model, vae, images)
        options = TrainingOptions(steps, batch_size, learning_rate, seed=seed)

        progress = ProgressBar(steps)
        preview = ("JPEG", contact_sheet(images[: len(photos)], masks[: len(photos)]), None)
        losses = []
        failure = None
        with denoiser.gradients():
            training = train_id_token(
                denoiser,
                DiscreteSchedule(model.get_model_object("model_sampling").sigmas.clone()),
                latents.clone(),
                masks.clone(),
                training_prompts(photos, noun),
                initial_vectors(denoiser.embed_words(noun), token_count, torch.Generator().manual_seed(seed)),
                options,
            )
            step = None
            try:
                for step in training:
                    losses.append(step.loss)
                    progress.update_absolute(step.number, steps, preview if step.number == 1 else None)
                    model_management.throw_exception_if_processing_interrupted()
            except TrainingDiverged as error:
                failure, step = error, error.last
        if failure is not None and step is None:
            raise failure

        family = type(model.model.model_config).__name__
        token = IDToken(name, step.vectors.cpu(), noun, step.number, base=family, date=date.today().isoformat())
        if failure is not None:
            kept = save_partial_id_token(token, path.parent)
            raise RuntimeError(f"{failure}. The tokens of step {step.number} were kept in {kept}") from failure
        saved = save_id_token(token, path.parent, overwrite=overwrite)
        report = f"{saved}\n{len(photos)} photos, {step.number} steps, loss {losses[0]:.4f} -> {losses[-1]:.4f}"
        return io.NodeOutput(token, token.prompt, {"loss": losses}, ui=ui.PreviewText(report))


class LoadIDToken(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadIDToken",
            display_name="Load ID Token (VCD)",
            category="VCD/identity",
            description="A CLIP that knows one ID token, from a file or just trained. Prompts encoded with it follow "
            "the token when it is trained anew; by the name alone, ComfyUI would not notice.",
            inputs=[
                io.Clip.Input("clip", tooltip="The CLIP of the checkpoint that makes the pictures. It is not changed."),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *token_files()],
                    default=NO_FILE,
                    tooltip="A .safetensors file in the embeddings folder, as Train ID Token (VCD) writes it.",
                ),
                IDTokenSocket.Input(
                    "token",
                    optional=True,
                    tooltip="From Train ID Token (VCD), instead of a file.",
                ),
            ],
            outputs=[io.Clip.Output(display_name="clip"), io.String.Output(display_name="prompt")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None) -> bool | str:
        return file == NO_FILE or check_model_file(EMBEDDINGS, file, "ID token")

    @classmethod
    def fingerprint_inputs(cls, file: str | None, **_) -> tuple | None:
        if file in (NO_FILE, None):
            return None
        status = model_path(EMBEDDINGS, file).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, clip, file: str, token: IDToken | None = None) -> io.NodeOutput:
        if token is None:
            if file == NO_FILE:
                raise ValueError("there is no ID token: choose a file, or connect the token of Train ID Token (VCD)")
            token = load_id_token(model_path(EMBEDDINGS, file))
        return io.NodeOutput(clip_with_token(clip, token), token.prompt.strip())


NODES = [LoadIdentityPhotos, TrainIDToken, LoadIDToken]
