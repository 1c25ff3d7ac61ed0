"""How good a clip is."""

from comfy import model_management
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ..vcd_core.metrics import Embedder, Evaluator, FaceEmbedder, as_json, as_text
from ..vcd_core.metrics.clip_and_dino import CLIP, DINO
from ..vcd_core.standalone.prompts import without_tokens
from .convert import photos_from_batch
from .host.evaluation import ClipVision, clip_of, dino_of
from .host.folders import check_vision_folder, vision_folder, vision_folders
from .sockets import FaceDetectorSocket, Photos

NO_FOLDER = "(none)"


class EvaluateVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_EvaluateVideo",
            display_name="Evaluate Video (VCD)",
            category="VCD/evaluation",
            description="Measures a clip: how like the photos and the prompt it is (CLIP, DINO, faces), how smooth, "
            "how much it moves and flickers, and what of the photos' backgrounds is in it. What is not given is left "
            "out and named.",
            is_output_node=True,
            inputs=[
                io.Image.Input("clip", tooltip="The frames of a clip, from any source."),
                io.Combo.Input(
                    "clip_model",
                    options=[*vision_folders(CLIP), NO_FOLDER],
                    tooltip="A folder in models/clip_vision with the files of openai/clip-vit-base-patch32 or another "
                    "CLIP for transformers: CLIP-I, CLIP-T, temporal smoothness.",
                ),
                io.Combo.Input(
                    "dino_model",
                    options=[*vision_folders(DINO), NO_FOLDER],
                    tooltip="A folder in models/clip_vision with the files of facebook/dino-vits16 or of a DINOv2: "
                    "DINO, temporal smoothness, what leaks from backgrounds.",
                ),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip="What the clip should show, for CLIP-T. embedding:NAME is left out, the noun behind it "
                    "stays.",
                ),
                Photos.Input(
                    "photos",
                    optional=True,
                    tooltip="The subject, from Load Identity Photos (VCD); with masks, to tell what leaks.",
                ),
                io.Image.Input("references", optional=True, tooltip="More photos of the subject, from other nodes."),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="White where the subject is in the clip, one a frame, or one for all: to tell what leaks.",
                ),
                io.Image.Input(
                    "unrelated",
                    optional=True,
                    tooltip="Pictures of other places than the photos', for background leakage.",
                ),
                FaceDetectorSocket.Input(
                    "face_detector",
                    optional=True,
                    tooltip="From Load Face Detector (VCD), one that recognises people: insightface.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="From Load CLIP Vision, instead of clip_model. It knows no words, so CLIP-T is left out.",
                ),
                io.String.Input(
                    "clip_hugging_face_id",
                    default="",
                    optional=True,
                    tooltip="Instead of clip_model: openai/clip-vit-base-patch32 or another CLIP on the Hugging Face "
                    "hub, downloaded once into its own cache.",
                ),
                io.String.Input(
                    "dino_hugging_face_id",
                    default="",
                    optional=True,
                    tooltip="Instead of dino_model: facebook/dino-vits16, facebook/dinov2-small or another of them.",
                ),
            ],
            outputs=[io.String.Output(display_name="report"), io.String.Output(display_name="scores")],
        )

    @classmethod
    def validate_inputs(
        cls,
        clip_model: str | None,
        dino_model: str | None,
        clip_hugging_face_id: str | None = "",
        dino_hugging_face_id: str | None = "",
    ) -> bool | str:
        chosen = ((CLIP, clip_model, clip_hugging_face_id), (DINO, dino_model, dino_hugging_face_id))
        for layout, folder, hugging_face_id in chosen:
            if folder != NO_FOLDER and hugging_face_id is not None and not hugging_face_id.strip():
                checked = check_vision_folder(layout, folder)
                if checked is not True:
                    return checked
        return True

    @classmethod
    def execute(
        cls,
        clip,
        clip_model: str,
        dino_model: str,
        prompt: str,
        photos=(),
        references=None,
        masks=None,
        unrelated=None,
        face_detector=None,
        clip_vision=None,
        clip_hugging_face_id: str = "",
        dino_hugging_face_id: str = "",
    ) -> io.NodeOutput:
        photos = [*photos, *([] if references is None else photos_from_batch(references, None))]
        name = getattr(face_detector, "name", type(face_detector).__name__)
        evaluator = Evaluator(
            [photo.image for photo in photos],
            [photo.mask for photo in photos],
            prompt=without_tokens(prompt),
            unrelated=[] if unrelated is None else list(unrelated[..., :3]),
            clip=ClipVision(clip_vision) if clip_vision else _chosen(CLIP, clip_model, clip_hugging_face_id, clip_of),
            dino=_chosen(DINO, dino_model, dino_hugging_face_id, dino_of),
            face=None if face_detector is None else FaceEmbedder(face_detector, name),
        )
        bar = ProgressBar(len(clip))

        def progress(done: int) -> None:
            bar.update_absolute(done, len(clip))
            model_management.throw_exception_if_processing_interrupted()

        if masks is not None:
            masks = None if not masks.any() else masks.expand(len(clip), -1, -1) if len(masks) == 1 else masks
        scores = evaluator.score(clip[..., :3], masks, progress=progress)
        report = as_text([scores])
        return io.NodeOutput(report, as_json([scores]), ui=ui.PreviewText(report).as_dict())


def _chosen(layout, folder: str, hugging_face_id: str, load) -> Embedder | None:
    if hugging_face_id.strip():
        return load(hugging_face_id.strip())
    return None if folder == NO_FOLDER else load(vision_folder(layout, folder))


NODES = [EvaluateVideo]
