"""insightface's FaceAnalysis: a stand-in for the package, and the package itself where it is installed."""

import sys
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from marker_detectors import CELL, HALF, POINTS, write_model_pack

from vcd_core.vision import insight_faces, load_insight_faces


class Analysis:
    """In FaceAnalysis' place: one face a picture, and a better one where the picture is blue."""

    def __init__(self, name, allowed_modules):
        self.name, self.modules = name, allowed_modules

    def prepare(self, ctx_id, det_thresh, det_size):
        self.options = det_thresh, det_size

    def get(self, picture):
        assert picture.dtype == np.uint8
        assert picture.flags.c_contiguous
        height, width, _ = picture.shape
        points = np.arange(10, dtype=np.float32).reshape(5, 2)
        embedding = np.float32([0.6, 0.8])
        faces = [SimpleNamespace(bbox=np.float32([1, 2, width, height]), det_score=np.float32(0.6), kps=points)]
        faces[0].normed_embedding = embedding
        if picture[..., 0].mean() > 200:  # blue comes first
            better = SimpleNamespace(bbox=np.float32([3, 4, 5, 6]), det_score=np.float32(0.9), kps=None)
            better.normed_embedding = None
            faces.append(better)
        return faces


@pytest.fixture
def stand_in(monkeypatch):
    package, app = ModuleType("insightface"), ModuleType("insightface.app")
    app.FaceAnalysis = Analysis
    monkeypatch.setitem(sys.modules, "insightface", package)
    monkeypatch.setitem(sys.modules, "insightface.app", app)


@pytest.fixture
def pack(tmp_path):
    folder = tmp_path / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(b"")
    return folder


def test_faces_have_what_insightface_finds(stand_in, pack):
    clip = torch.zeros(2, 3, 30, 40)
    clip[1, 2] = 1
    first, second = load_insight_faces(pack).detect(clip)
    assert [(face.box, face.score) for face in first] == [((1, 2, 40, 30), pytest.approx(0.6))]
    assert first[0].landmarks.tolist() == np.arange(10).reshape(5, 2).tolist()
    assert first[0].embedding.norm().item() == pytest.approx(1)
    assert [face.box for face in second] == [(3, 4, 5, 6), (1, 2, 40, 30)]
    assert second[0].landmarks is None
    assert second[0].embedding is None
    assert len(load_insight_faces(pack).detect(clip[:, :1])) == 2
    assert load_insight_faces(pack).detect(clip[:0]) == []


def test_only_what_is_asked_for_is_loaded_and_nothing_by_a_name_that_could_be_fetched(stand_in, pack, monkeypatch):
    monkeypatch.chdir(pack.parent)
    analysis = load_insight_faces(pack.relative_to(pack.parent), size=500, threshold=0.25).analysis
    assert analysis.name == str(pack)
    assert analysis.modules == ["detection", "recognition"]
    assert analysis.options == (0.25, (512, 512))


@pytest.mark.parametrize("missing", ["insightface", "onnxruntime"])
def test_a_missing_package_is_named_with_the_licence(missing, pack, monkeypatch, tmp_path):
    package = tmp_path / "site" / "insightface"
    (package / "app").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "app" / "__init__.py").write_text("import onnxruntime")
    monkeypatch.syspath_prepend(package.parent)
    for name in [name for name in sys.modules if name.partition(".")[0] == "insightface"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    message = f"needs the package {missing}.*pip install insightface onnxruntime.*non-commercial research only"
    with pytest.raises(ImportError, match=message):
        load_insight_faces(pack)
    for name in [name for name in sys.modules if name.partition(".")[0] == "insightface"]:
        sys.modules.pop(name)


def test_a_missing_model_pack_is_named_with_its_folder_and_licence(stand_in, tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ValueError, match=r"download buffalo_l\.zip .*non-commercial research only") as error:
            load_insight_faces(folder)
        assert f"no model pack in {folder} " in str(error.value)


def test_a_pack_without_a_detector_is_named(stand_in, pack, monkeypatch):
    def fail(*_, **__):
        raise AssertionError

    monkeypatch.setattr(Analysis, "__init__", fail)
    with pytest.raises(ValueError, match=r"buffalo_l could not be read \(no model in it finds faces\)"):
        load_insight_faces(pack)


def test_the_licence_is_told():
    assert "non-commercial research only" in insight_faces.LICENCE


real = pytest.mark.skipif(
    not (find_spec("insightface") and find_spec("onnxruntime")), reason="insightface and onnxruntime are not installed"
)


@real
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_package_itself_reads_a_pack_in_its_layout(tmp_path):
    detector = load_insight_faces(write_model_pack(tmp_path / "markers"), size=320)
    clip = torch.zeros(2, 3, 200, 640)
    clip[0, 2] = 0.5
    clip[1, 1] = 0.5
    clip[:, :, 64:80, 160:176] = torch.tensor([1.0, 0, 0])[:, None, None]
    blue, green = detector.detect(clip)
    middle, reach = torch.tensor([168.0, 72.0]), 2 * HALF * CELL
    for (face,) in (blue, green):
        assert face.box == pytest.approx((*(middle - reach).tolist(), *(middle + reach).tolist()), abs=1e-3)
        torch.testing.assert_close(face.landmarks, middle + torch.tensor(POINTS) * 2 * CELL)
        assert face.embedding.norm().item() == pytest.approx(1)
    assert blue[0].embedding[2] > blue[0].embedding[1] + 0.3  # the mean colour of the face, red first
    assert green[0].embedding[1] > green[0].embedding[2] + 0.3


@real
@pytest.mark.parametrize("content", [b"", b"not found " * 99])
def test_a_damaged_pack_is_named(content, tmp_path):
    (tmp_path / "det_10g.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"could not be read \(.*download buffalo_l\.zip"):
        load_insight_faces(tmp_path)
