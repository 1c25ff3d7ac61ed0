"""ID tokens put to use."""

import numpy as np
import torch
from comfy_api.latest import io, ui

from ..vcd_core.identity import (
    MOST_STRENGTH,
    IDToken,
    load_id_token,
    mix_id_tokens,
    open_thumbnail,
    with_strength,
)
from .host.folders import EMBEDDINGS, check_model_file, model_path, token_files
from .host.prompts import clip_with_token, noun_vectors
from .sockets import IDTokenSocket

NO_FILE = "(none)"


class LoadIDToken(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadIDToken",
            display_name="Load ID Token (VCD)",
            category="VCD/identity",
            description="A CLIP that knows one ID token, from a file or just trained, or a mixture of two. Prompts "
            "encoded with it follow the token when it is trained anew; by the name alone, ComfyUI would not notice.",
            inputs=[
                io.Clip.Input("clip", tooltip="The CLIP of the checkpoint that makes the pictures. It is not changed."),
                io.Combo.Input(
                    "file",
                    options=[NO_FILE, *token_files()],
                    default=NO_FILE,
                    tooltip="A file in the embeddings folder: as Train ID Token (VCD) writes it, or a textual "
                    "inversion for Stable Diffusion 1.5 of another tool, .safetensors, .pt or .bin.",
                ),
                IDTokenSocket.Input(
                    "token",
                    optional=True,
                    tooltip="From Train ID Token (VCD), instead of a file.",
                ),
                io.Float.Input(
                    "strength",
                    default=1.0,
                    min=0.0,
                    max=MOST_STRENGTH,
                    step=0.05,
                    optional=True,
                    tooltip="1: the subject as it was learned. 0: anyone of its class. Above 1: a caricature.",
                ),
                io.Combo.Input(
                    "second_token",
                    options=[NO_FILE, *token_files()],
                    default=NO_FILE,
                    optional=True,
                    tooltip="A file with a second subject to mix in. Both need the same number of vectors.",
                ),
                io.Float.Input(
                    "share",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    optional=True,
                    tooltip="How much of the second subject: 0 is the first alone, 1 the second alone. Nothing without "
                    "a second_token.",
                ),
            ],
            outputs=[io.Clip.Output(display_name="clip"), io.String.Output(display_name="prompt")],
        )

    @classmethod
    def validate_inputs(cls, file: str | None, second_token: str | None = NO_FILE) -> bool | str:
        for name in (file, second_token):
            checked = name == NO_FILE or check_model_file(EMBEDDINGS, name, "ID token")
            if checked is not True:
                return checked
        return True

    @classmethod
    def fingerprint_inputs(cls, file: str | None, second_token: str | None = NO_FILE, **_) -> list[tuple[int, int]]:
        named = [name for name in (file, second_token) if name not in (NO_FILE, None)]
        status = [model_path(EMBEDDINGS, name).stat() for name in named]
        return [(one.st_mtime_ns, one.st_size) for one in status]

    @classmethod
    def execute(
        cls,
        clip,
        file: str,
        token: IDToken | None = None,
        strength: float = 1.0,
        second_token: str = NO_FILE,
        share: float = 0.5,
    ) -> io.NodeOutput:
        if token is None:
            if file == NO_FILE:
                raise ValueError("there is no ID token: choose a file, or connect the token of Train ID Token (VCD)")
            token = load_id_token(model_path(EMBEDDINGS, file))
        pictures = [open_thumbnail(token.thumbnail)]
        if second_token != NO_FILE:
            second = load_id_token(model_path(EMBEDDINGS, second_token))
            pictures.append(open_thumbnail(second.thumbnail))
            token = mix_id_tokens(token, second, share)
        if strength != 1:
            token = with_strength(token, noun_vectors(clip, token), strength)
        return io.NodeOutput(clip_with_token(clip, token), token.prompt.strip(), ui=_shown(pictures, cls))


def _shown(pictures: list, cls: type[io.ComfyNode]) -> ui.PreviewImage | None:
    seen = [torch.from_numpy(np.asarray(picture) / np.float32(255)) for picture in pictures if picture is not None]
    return ui.PreviewImage(torch.stack(seen), cls=cls) if seen else None


NODES = [LoadIDToken]
