"""GroundingDINO: boxes of random weights in the published layout, and what goes wrong with its folder."""

import shutil

import pytest
import torch
from random_segmenters import write_grounding_dino
from safetensors.torch import load_file, save_file

from vcd_core.vision import load_grounding_dino


@pytest.fixture(scope="module")
def dino_folder(tmp_path_factory):
    return write_grounding_dino(tmp_path_factory.mktemp("dino") / "tiny")


@pytest.fixture(scope="module")
def dino(dino_folder):
    return load_grounding_dino(dino_folder)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (60, 90), (320, 10)])
def test_boxes_are_those_of_transformers_own_reading(dino, size):
    """Those of its post-processing that match a word; for pictures that could be taken for channels first, too."""
    image = torch.rand(*size, 3, generator=torch.Generator().manual_seed(0))
    found = dino.detect(image, "Red cat", 0.05, 0.01)
    pixels = (image * 255).round().byte().permute(2, 0, 1)[None].float()
    inputs = dino.processor.image_processor(images=pixels, input_data_format="channels_first", return_tensors="pt")
    words = dino.processor.tokenizer("red cat.", return_tensors="pt")
    with torch.no_grad():
        outputs = dino.network(**inputs, **words)
    (expected,) = dino.processor.post_process_grounded_object_detection(
        outputs, words["input_ids"], threshold=0.05, text_threshold=0.01, target_sizes=[size]
    )
    height, width = size
    named = torch.tensor(["red" in words or "cat" in words for words in expected["text_labels"]])
    wanted = expected["boxes"][named].clamp(min=0).minimum(torch.tensor([width, height, width, height]))
    assert len(found) > 5
    assert len(found) == len(wanted)
    torch.testing.assert_close(torch.tensor([finding.box for finding in found]), wanted, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(torch.tensor([finding.score for finding in found]), expected["scores"][named])


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (300, 400)])
def test_the_longer_side_that_it_sees_can_be_chosen(size, dino_folder, monkeypatch):
    dino = load_grounding_dino(dino_folder, 128)
    seen, look = [], dino.network.forward

    def watch(pixel_values, **options):
        seen.append(pixel_values.shape[-2:])
        return look(pixel_values=pixel_values, **options)

    monkeypatch.setattr(dino.network, "forward", watch)
    dino.detect(torch.rand(*size, 3, generator=torch.Generator().manual_seed(0)), "cat", 0.05, 0.01)
    assert seen == [tuple(pytest.approx(side * 128 / max(size), abs=1) for side in size)]


def test_a_hugging_face_id_is_looked_up_in_the_users_own_cache(dino_folder, tmp_path, monkeypatch):
    cache = tmp_path / "models--someone--tiny-dino"
    (cache / "snapshots").mkdir(parents=True)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0123abcd")
    (cache / "snapshots" / "0123abcd").symlink_to(dino_folder)
    monkeypatch.setattr("transformers.utils.hub.TRANSFORMERS_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("transformers.utils.hub._is_offline_mode", True)
    assert len(load_grounding_dino("someone/tiny-dino").network.state_dict())
    with pytest.raises(ValueError, match=r"someone/else.*check the id and the connection"):
        load_grounding_dino("someone/else")


@pytest.mark.parametrize("name", ["../tiny", "/etc/x", "tiny", "a/b/c", "", "https://example.org/a"])
def test_what_is_no_hugging_face_id_is_refused(name):
    with pytest.raises(ValueError, match="is no Hugging Face id"):
        load_grounding_dino(name)


def damaged(name):
    def damage(folder):
        path = folder / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return damage


def put(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def without_a_weight(folder):
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.level_embed"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


SDXL = {f"{name}.weight": torch.zeros(2) for name in ("model.diffusion_model.out.2", "conditioner.embedders.0.x")}

BAD_FOLDERS = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), r"no model\.safetensors in"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"no config\.json in"),
    "no tokenizer": (
        lambda folder: [path.unlink() for path in folder.glob("*") if "token" in path.name or "vocab" in path.name],
        r"no tokenizer\.json or vocab\.txt in",
    ),
    "no processor": (lambda folder: (folder / "preprocessor_config.json").unlink(), r"no preprocessor_config\.json in"),
    "truncated": (damaged("model.safetensors"), "download them again"),
    "text": (put("model.safetensors", b"not a model"), "download them again"),
    "truncated config": (damaged("config.json"), "download them again"),
    "another model": (put("config.json", b'{"model_type": "bert"}'), "of the kind 'bert'"),
    "SDXL": (lambda folder: save_file(SDXL, folder / "model.safetensors", metadata={"format": "pt"}), "weights lack"),
    "a weight less": (without_a_weight, "weights lack 1 of GroundingDINO's"),
}


@pytest.mark.parametrize("fault", BAD_FOLDERS)
def test_a_bad_grounding_dino_folder_is_named(fault, dino_folder, tmp_path):
    folder = tmp_path / "my-dino"
    shutil.copytree(dino_folder, folder)
    damage, message = BAD_FOLDERS[fault]
    damage(folder)
    with pytest.raises(ValueError, match=message) as error:
        load_grounding_dino(folder)
    assert "my-dino" in str(error.value)


def test_no_grounding_dino_folder(tmp_path):
    with pytest.raises(ValueError, match=r"there is no GroundingDINO folder .*absent: create it with config\.json"):
        load_grounding_dino(tmp_path / "absent")
