"""The node that cuts subjects out, with stand-ins for its two networks."""

import gc
import weakref
from pathlib import Path

import folder_paths
import pytest
import torch
from comfy import model_management
from PIL import Image
from torch import nn
from vcd_pack.nodes import segmentation
from vcd_pack.nodes.host.memory import on_compute_device
from vcd_pack.nodes.segmentation import SegmentByPrompt
from vcd_pack.vcd_core.identity import Photo
from vcd_pack.vcd_core.vision import Finding


class Network(nn.Module):
    """Finds a box around the left half of a picture for each tenth of its first pixel, and fills it."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def detect(self, image, prompt, box_threshold, text_threshold):
        assert prompt == "person"
        loaded = [entry.model.model for entry in model_management.current_loaded_models if entry.model]
        assert any(self is network for network in loaded)
        height, width, _ = image.shape
        boxes = [(0.0, 0.0, width / 2, height / (1 + 2 * n)) for n in range(round(image[0, 0, 0].item() * 10))]
        return [Finding(box, 0.9 - n / 10, "person") for n, box in enumerate(boxes) if 0.9 - n / 10 > box_threshold]

    def mask(self, image, box):
        x0, y0, x1, y1 = map(round, box)
        mask = torch.zeros(image.shape[:2])
        mask[y0:y1, x0:x1] = 1
        return mask


def photo(name, subjects, size=(30, 40), mask=None):
    return Photo(name, torch.full((*size, 3), subjects / 10), mask, caption="on a beach")


@pytest.fixture
def networks(monkeypatch):
    """What the node loaded: (which loader, from where)."""
    folder = Path(folder_paths.models_dir) / "grounding-dino" / "owner" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    sams = Path(folder_paths.models_dir) / "sams"
    sams.mkdir(parents=True, exist_ok=True)
    (sams / "sam_vit_b.pth").write_bytes(b"")
    SegmentByPrompt.define_schema()  # ComfyUI asks for it before anything runs; it makes the folders known
    loaded = []

    def loader(name):
        def load(source):
            loaded.append((name, source))
            return Network()

        return load

    monkeypatch.setattr(segmentation, "load_grounding_dino", loader("dino"))
    monkeypatch.setattr(segmentation, "load_sam", loader("sam"))
    return loaded


def segment(photos, **options):
    options = {"box_threshold": 0.3, "text_threshold": 0.25, "choice": "best score", **options}
    with torch.inference_mode():
        return SegmentByPrompt.execute(photos, "person", "owner/tiny", "sam_vit_b.pth", **options)


def test_photos_get_masks_and_what_was_not_found_is_named(networks):
    drawn = torch.zeros(30, 40)
    drawn[5:9, 5:9] = 1
    photos = [photo("a", 1, (50, 20)), photo("b", 0), photo("c", 3, mask=drawn), photo("d", 2)]
    output = segment(photos)
    masked, preview = output.result
    assert [result.name for result in masked] == ["a", "c", "d"]
    assert [result.caption for result in masked] == ["on a beach"] * 3
    assert torch.equal(masked[0].mask, (torch.arange(20) < 10).float().expand(50, 20))
    assert torch.equal(masked[1].mask, drawn)
    assert preview.shape == (4, 512, 512, 3)
    assert preview.dtype == torch.float32
    assert 0 <= preview.min() < preview.max() <= 1
    (report,) = output.ui["text"]
    assert report.startswith("3 of 4 photos have a mask\nskipped b: nothing in it looks like 'person'")
    pictures = [Path(folder_paths.get_temp_directory()) / entry["filename"] for entry in output.ui["images"]]
    assert len(pictures) == 4
    assert all(path.is_file() for path in pictures)
    assert dict(networks)["sam"].name == "sam_vit_b.pth"
    assert dict(networks)["dino"] == Path(folder_paths.models_dir) / "grounding-dino" / "owner" / "tiny"


def test_a_hugging_face_id_takes_the_folder_s_place(networks):
    segment([photo("a", 1)], hugging_face_id=" someone/dino ")
    assert dict(networks)["dino"] == "someone/dino"


def test_several_subjects_are_refused_with_a_picture_on_disk(networks):
    with pytest.raises(ValueError, match=r"several subjects in b, c: .* is drawn in (.*\.png)") as error:
        segment([photo("a", 1), photo("b", 2), photo("c", 3)], choice="refuse if several")
    with Image.open(str(error.value).rpartition(" drawn in ")[2]) as picture:
        assert picture.size == (1024, 512)


def test_a_subject_in_no_photo_says_what_to_do(networks):
    with pytest.raises(ValueError, match="not found in any of the 2 photos: name the subject in other words"):
        segment([photo("a", 0), photo("b", 0)])


def test_networks_are_loaded_through_comfyui_and_do_not_stay():
    network = Network()
    with on_compute_device(network, working_memory=1):
        assert network.weight.device == model_management.get_torch_device()
        assert any(entry.model.model is network for entry in model_management.current_loaded_models)
    assert network.weight.device == model_management.unet_offload_device()
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_missing_files_say_where_they_belong(networks):
    valid = {"grounding_dino": "owner/tiny", "sam": "sam_vit_b.pth", "hugging_face_id": ""}

    def check(**inputs):
        return SegmentByPrompt.validate_inputs(**{**valid, **inputs})

    assert check() is True
    assert check(grounding_dino=None, sam=None, hugging_face_id=None) is True
    assert check(grounding_dino="(none)", hugging_face_id="IDEA-Research/grounding-dino-base") is True
    for name in ("(none)", "absent", "..", "../sams", "/etc", "owner"):
        message = check(grounding_dino=name)
        assert name in message
        assert str(Path(folder_paths.models_dir) / "grounding-dino") in message
        with pytest.raises(ValueError, match="there is no GroundingDINO folder"):
            segmentation.grounding_dino_folder(name)
    message = check(sam="sam_vit_h_4b8939.pth")
    assert "SAM checkpoint 'sam_vit_h_4b8939.pth' was not found" in message
    assert str(Path(folder_paths.models_dir) / "sams") in message
    choices = SegmentByPrompt.define_schema().inputs[2].options
    assert choices == ["owner/tiny", "(none)"]
