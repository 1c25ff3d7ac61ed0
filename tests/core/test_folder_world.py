"""The identity benchmark on a checkpoint and folders of photos, on models of a few channels."""

import csv
import json
import shutil
import sys
from types import SimpleNamespace

import pytest
import torch
from narrow_checkpoint import load_narrow
from random_vision import write_clip, write_dino

from benchmarks import identity
from benchmarks.clips import folders, running
from vcd_core.metrics import load_clip, load_dino, reference_similarity, text_similarity
from vcd_core.standalone.tokenizer import clip_tokenizer

pytestmark = pytest.mark.usefixtures("one_thread", "no_network")

SUBJECTS = {"cat_statue": "stuffed cat", "dog": "dog"}
PROMPTS = ("a photo of {} on a beach", "{} in the snow")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    root = tmp_path_factory.mktemp("networks")
    return {"clip_scores": write_clip(root / "clip", clip_tokenizer()), "dino_scores": write_dino(root / "dino")}


@pytest.fixture
def run(files, networks, tmp_path, monkeypatch):
    """Runs the command on photos in DreamBooth's layout; gives its exit code."""
    monkeypatch.setattr(folders, "load_checkpoint", load_narrow)
    photos = tmp_path / "dataset"
    lines = ["Classes", "", "subject_name,class", *(f"{name},{noun}" for name, noun in SUBJECTS.items()), "", "Prompts"]
    for name in (*SUBJECTS, ".ipynb_checkpoints"):
        shutil.copytree(files / "photos", photos / name)
    (photos / "prompts_and_classes.txt").write_text("\n".join(lines))

    def run(rows, **changes):
        settings = {"checkpoint": files / "sd15.safetensors", "motion_module": files / "motion.safetensors"}
        settings |= {"photos": photos, "clip": "{frames: 3, size: 64, steps: 1}", "steps": 1, **networks}
        settings |= {"out": tmp_path / "out", "prompts": list(PROMPTS), **changes}
        plan = tmp_path / "plan.yaml"
        plan.write_text("\n".join([*(f"{name}: {value}" for name, value in settings.items()), "rows:", *rows]))
        monkeypatch.setattr(sys, "argv", ["identity", str(plan)])
        return identity.main()

    return run


def test_the_command_scores_every_clip_against_its_subject_s_photos_and_prompt(run, networks, tmp_path, monkeypatch):
    clips = {}
    score = folders.FolderWorld.score

    def kept(self, subject, prompt, clip):
        scores = score(self, subject, prompt, clip)
        clips[subject, prompt] = clip, self.photos(subject), scores
        return scores

    monkeypatch.setattr(folders.FolderWorld, "score", kept)
    assert run(["  - {method: noun}"]) == 0
    assert clips.keys() == {(subject, prompt) for subject in SUBJECTS for prompt in PROMPTS}
    clip_network, dino = load_clip(networks["clip_scores"]), load_dino(networks["dino_scores"])
    for (subject, prompt), (clip, photos, scores) in clips.items():
        assert scores.keys() == folders.SCORES.keys() - {"face similarity", folders.SEEN}
        for name, network in (("CLIP-I", clip_network), ("DINO", dino)):
            alike = reference_similarity(
                network.embed_images(list(clip)), network.embed_images([one.image for one in photos])
            )
            assert scores[name] == pytest.approx(alike.mean().item(), abs=1e-5)
        text = clip_network.embed_text(prompt.replace("{}", f"a {SUBJECTS[subject]}"))
        expected = text_similarity(clip_network.embed_images(list(clip)), text).mean().item()
        assert scores["CLIP-T"] == pytest.approx(expected, abs=1e-5)
    page = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    assert f"by {networks['clip_scores']}" in page
    assert "by none, so it is missing" in page


def test_a_caption_of_photos_is_asked_for_in_vain_and_the_rest_is_made(run, tmp_path):
    assert run(["  - {method: caption}", "  - {method: noun}"]) == 1
    made = (tmp_path / "out/clips.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert len(made) == len(SUBJECTS) * len(PROMPTS)
    assert "take the row of captions out" in (tmp_path / "out/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("without", "expected"), [(slice(1), 2 / 3), (slice(None), 0)])
def test_frames_without_a_face_are_told_of(without, expected, run, tmp_path, monkeypatch):
    """They leave the likeness of faces as it is, so that it alone would hide them."""

    class Faces:
        name = "faces"

        def embed_images(self, images):
            rows = torch.ones(len(images), 2)
            if images[0].shape[0] == 64:  # frames, not photos
                rows[without] = torch.nan
            return rows

    (tmp_path / "faces").mkdir()
    monkeypatch.setattr(folders, "load_insight_faces", lambda folder: SimpleNamespace(name="faces"))
    monkeypatch.setattr(folders, "FaceEmbedder", lambda detector, name: Faces())
    assert run(["  - {method: noun}"], face_scores=tmp_path / "faces") == 0
    with (tmp_path / "out/clips.csv").open(encoding="utf-8") as lines:
        for clip in csv.DictReader(lines):
            assert float(clip["faces seen"]) == pytest.approx(expected)
            assert bool(clip["face similarity"]) == bool(expected)


def test_photos_are_looked_at_once_for_all_clips_of_their_subject(run, monkeypatch):
    seen = []

    class Counting:
        name = "counting"

        def embed_images(self, images):
            seen.append(len(images))
            return torch.ones(len(images), 2)

    monkeypatch.setattr(folders, "load_dino", lambda source: Counting())
    monkeypatch.setattr(Counting, "to", lambda self, device: self, raising=False)
    assert run(["  - {method: noun}", "  - {method: noun, gamma: 0.5}"], seeds=2) == 0
    assert sum(seen) == 3 * len(SUBJECTS) + 3 * len(SUBJECTS) * len(PROMPTS) * 2 * 2


@pytest.mark.parametrize("key", ["clip_scores", "dino_scores"])
def test_a_network_that_is_none_is_found_before_anything_is_learned_or_drawn(key, run, tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/config.json").write_text('{"model_type": "bert"}')
    assert run(["  - {method: vcd}"], **{key: tmp_path / "weights"}) == 2
    assert str(tmp_path / "weights") in capsys.readouterr().err
    assert not (tmp_path / "out" / running.LEARNED).exists()


def test_a_missing_face_detector_is_found_before_the_clip_is_drawn(run, monkeypatch, capsys):
    def missing():
        raise ValueError("CenterFace was not found")

    drawn = []
    make = folders.make_clip
    monkeypatch.setattr(folders, "load_centerface", missing)
    monkeypatch.setattr(folders, "make_clip", lambda *inputs: drawn.append(inputs) or make(*inputs))
    assert run(["  - {method: noun, stage: face}"]) == 1
    assert "CenterFace was not found" in capsys.readouterr().err
    assert drawn == []


def test_a_folder_without_photos_costs_its_subject_alone(run, tmp_path, capsys):
    (tmp_path / "dataset/empty").mkdir()
    assert run(["  - {method: noun}"], nouns="{empty: man}") == 1
    assert "empty holds no photos" in capsys.readouterr().err
    assert len((tmp_path / "out" / running.CLIPS).read_text().splitlines()) == 1 + len(SUBJECTS) * len(PROMPTS)


# ---------------------------------------------------------------- data sets as they are


def folder_of(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)


def test_dreambooth_s_data_set_is_read_as_it_is(tmp_path):
    folder_of(tmp_path, "backpack_dog", "bear_plushie", "dog")
    lines = ["Classes", "", "subject_name,class", "backpack_dog,backpack", "bear_plushie,stuffed animal", "dog,dog"]
    lines += ["", "Prompts", "", "prompt_list = [", "'a {0} {1} in the jungle'.format(unique_token, class_token),", "]"]
    (tmp_path / "prompts_and_classes.txt").write_text("\n".join(lines))
    found = {name: one.noun for name, one in folders.subjects_in(tmp_path).items()}
    assert found == {"backpack_dog": "backpack", "bear_plushie": "stuffed animal", "dog": "dog"}


def test_customconcept101_is_read_as_it_is(tmp_path):
    folder_of(tmp_path, "benchmark_dataset/pet_cat1", "prompts")
    entry = {"instance_prompt": "photo of a <new1> cat", "class_prompt": "cat", "prompt_filename": "prompts/cat.txt"}
    entries = [entry | {"instance_data_dir": f"./benchmark_dataset/{name}"} for name in ("pet_cat1", "not_there")]
    (tmp_path / "dataset.json").write_text(json.dumps(entries))
    found = folders.subjects_in(tmp_path)
    assert {name: one.noun for name, one in found.items()} == {"pet_cat1": "cat"}
    assert found["pet_cat1"].folder.is_dir()
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(ValueError, match="holds no folders"):
        folders.subjects_in(tmp_path)
    (tmp_path / "dataset.json").write_text('[{"class_prompt": "cat"}]')
    with pytest.raises(ValueError, match="is no list of CustomConcept101's subjects"):
        folders.subjects_in(tmp_path)


def test_any_folder_of_folders_will_do_once_it_is_said_what_they_show(tmp_path):
    folder_of(tmp_path, "ava", "tom")
    assert {one.noun for one in folders.subjects_in(tmp_path, "person").values()} == {"person"}
    assert folders.subjects_in(tmp_path, {"ava": "woman", "tom": "man"})["tom"].noun == "man"
    with pytest.raises(ValueError, match=r"nothing says what tom is: add nouns.*{tom: woman}"):
        folders.subjects_in(tmp_path, {"ava": "woman"})
    with pytest.raises(ValueError, match="nouns names eve"):
        folders.subjects_in(tmp_path, {"eve": "woman"})


def test_a_folder_may_be_called_by_a_number(tmp_path):
    folder_of(tmp_path, "1", "ava")
    assert folders.subjects_in(tmp_path, {1: "man", "ava": "woman"})["1"].noun == "man"
    with pytest.raises(ValueError, match="nouns names 2, of which"):
        folders.subjects_in(tmp_path, {2: "man"})


def test_a_style_added_later_leaves_the_other_clips_as_they_are(run, files, tmp_path):
    assert run(["  - {method: noun}"]) == 0
    before = (tmp_path / "out/clips.csv").read_text().splitlines()
    other = shutil.copy(files / "sd15.safetensors", tmp_path / "other.safetensors")
    assert run(["  - {method: noun}", "  - {method: noun, style: toon}"], styles=f"{{toon: {other}}}") == 0
    after = (tmp_path / "out/clips.csv").read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == 2 * len(before) - 1


def test_other_weights_of_what_scores_score_anew(networks, tmp_path):
    dino = shutil.copytree(networks["dino_scores"], tmp_path / "dino")
    one = folders.Networks(clip="none", dino=str(dino))
    before = one.identified()
    moved = folders.Networks(clip="none", dino=str(shutil.copytree(dino, tmp_path / "moved")))
    assert one.identified() == moved.identified() == before
    for name in ("pytorch_model.bin", "preprocessor_config.json"):
        content = (dino / name).read_bytes()
        (dino / name).write_bytes(content[:-1] + b"x")
        assert one.identified() != before
        (dino / name).write_bytes(content)


def test_a_stage_of_other_settings_makes_other_clips(monkeypatch, tmp_path):
    file = tmp_path / "checkpoint"
    file.touch()
    world = SimpleNamespace(checkpoints={"base": file})

    def settings():
        return [folders.FolderWorld.settings_of(world, stage, "base") for stage in ("t2v", "face", "tiled")]

    before = settings()
    monkeypatch.setattr(folders, "CROP", folders.CropOptions(margin=3.0))
    assert [one == other for one, other in zip(settings(), before, strict=True)] == [True, False, False]
    monkeypatch.undo()
    monkeypatch.setattr(folders, "TILES", folders.TileOptions(overlap=32))
    assert [one == other for one, other in zip(settings(), before, strict=True)] == [True, True, False]
