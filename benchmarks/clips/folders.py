"""A checkpoint, a motion module and folders of photos as a world of the benchmark."""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from vcd_core.faces import CropOptions, FaceJob, RefineOptions, find_faces, plan_faces, refine_faces
from vcd_core.files import sha256_of
from vcd_core.identity import Photo, Recipe, TrainingOptions, fingerprint, load_photos
from vcd_core.metrics import FLOW, Evaluator, FaceEmbedder, load_clip, load_dino
from vcd_core.motion import MotionModule, load_motion_module
from vcd_core.standalone.checkpoint import load_checkpoint
from vcd_core.standalone.console import best_device
from vcd_core.standalone.faces import face_refiner
from vcd_core.standalone.model import Prompt, StableDiffusion
from vcd_core.standalone.pipeline import ClipOptions, Sampling, make_clip
from vcd_core.standalone.tiles import TileOptions, refine_in_tiles
from vcd_core.vision import FaceDetector, load_centerface, load_insight_faces

CUSTOM_CONCEPT, DREAMBOOTH = "dataset.json", "prompts_and_classes.txt"
HIDDEN = (".", "@eaDir", "__MACOSX")  # what editors, a NAS and macOS leave beside the photos
NONE = "none"
READ = (".safetensors", ".bin", ".onnx", ".json", ".txt")
"""Files of a network's folder that scores follow from: weights, words, how pictures are prepared."""
BASE = "base"
SEEN = "faces seen"
SCORES = {
    "CLIP-I": 1,
    "DINO": 1,
    "CLIP-T": 1,
    "temporal, CLIP": 1,
    "temporal, DINO": 1,
    "face similarity": 1,
    SEEN: 0,
    "motion amplitude": 0,
    "flicker": -1,
}
MEANINGS = {
    "CLIP-I": "cosine of every frame and every photo, mean over all pairs, by {clip}",
    "DINO": "the same, by {dino}",
    "CLIP-T": "cosine of every frame and the prompt, in which the noun stands for the subject, by {clip}",
    "temporal, CLIP": "cosine of each frame and the next, by {clip}",
    "temporal, DINO": "the same, by {dino}",
    "face similarity": "cosine of the largest face of every frame and that of every photo, by {face}",
    SEEN: "share of the frames in which {face} finds a face; the others do not count in the similarity",
    "motion amplitude": f"mean length of the flow from frame to frame, over the picture's diagonal, by {FLOW}",
    "flicker": f"mean square of what differs when the next frame is laid over by its flow, by {FLOW}",
}


CROP, TILES = CropOptions(), TileOptions()
VERSION = 1  # of how clips are drawn and scored here


@dataclass(frozen=True)
class Subject:
    """A folder of photos, and the class that they are of."""

    folder: Path
    noun: str


def subjects_in(folder: Path, nouns: str | Mapping[str, str] = "") -> dict[str, Subject]:
    """The subjects of a data set, as it lies on disk: CustomConcept101, DreamBooth's, or any folder of folders.

    Args:
        nouns: one for all, or by subject; they come before what the data set says.

    Raises:
        ValueError: no such folder, no subject in it, or one without a noun.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: give one that holds a folder of photos for each subject")
    places = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(HIDDEN)]
    found = {path.name: Subject(path, "") for path in places}
    if (folder / CUSTOM_CONCEPT).is_file():
        found = _custom_concepts(folder)
    elif (file := folder / DREAMBOOTH).is_file():
        classes = dict(re.findall(r"^(\w+),([\w ]+)$", file.read_text(encoding="utf-8"), re.MULTILINE))
        found = {name: Subject(one.folder, classes.get(name, "")) for name, one in found.items()}
    said = dict.fromkeys(found, nouns) if isinstance(nouns, str) else {str(name): one for name, one in nouns.items()}
    if unknown := said.keys() - found.keys():
        raise ValueError(f"nouns names {', '.join(sorted(unknown))}, of which {folder} has no folder")
    found = {name: Subject(one.folder, str(said.get(name) or one.noun).strip()) for name, one in found.items()}
    if not found:
        raise ValueError(f"{folder} holds no folders: give one that holds a folder of photos for each subject")
    if nameless := [name for name, one in found.items() if not one.noun]:
        raise ValueError(
            f"nothing says what {', '.join(nameless)} is: add nouns, one for all or {{{nameless[0]}: woman}}"
        )
    return found


def _custom_concepts(folder: Path) -> dict[str, Subject]:
    file = folder / CUSTOM_CONCEPT
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        places = [(folder / entry["instance_data_dir"], entry["class_prompt"]) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no list of CustomConcept101's subjects: download it again") from error
    there = {place.name: Subject(place, noun) for place, noun in places if place.is_dir()}
    if places and not there:
        raise ValueError(f"none of the folders that {file} names is there, such as {places[0][0]}: download them")
    return there


@dataclass(frozen=True)
class Networks:
    """Sources of what scores clips, "none" for none; `face` is a folder of insightface's models."""

    clip: str = "openai/clip-vit-base-patch32"
    dino: str = "facebook/dino-vits16"
    face: Path | None = None

    def named(self) -> dict[str, str]:
        """For reports."""
        face = NONE if self.face is None else f"insightface's {self.face.name}"
        named = {"clip": self.clip, "dino": self.dino, "face": face}
        return {name: "none, so it is missing" if one == NONE else one for name, one in named.items()}

    def identified(self) -> list:
        """What scores follow from: of what lies in folders the files, wherever they are, or else names."""
        return [_files_in(Path(str(one))) or [str(one)] for one in (self.clip, self.dino, self.face)]


def _files_in(folder: Path) -> list[str]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [sha256_of(file) for file in sorted(files) if file.suffix in READ]


@functools.cache
def _loaded(checkpoint: Path) -> StableDiffusion:
    return load_checkpoint(checkpoint, device=best_device())


_hashed = functools.cache(sha256_of)


@functools.cache
def _photos(folder: Path) -> list[Photo]:
    return load_photos(folder)


class FolderWorld:
    """Photos in folders, drawn by a checkpoint of the Stable Diffusion 1.5 family.

    Args:
        subjects: by name.
        checkpoints: by style, the one that methods learn on first.
        options: of a clip; gamma and seed are set for each.
        steps: of learning.
    """

    prompts: Sequence[str] = ()
    fps = 8.0

    def __init__(
        self,
        subjects: Mapping[str, Subject],
        checkpoints: Mapping[str, Path],
        motion_file: Path | None,
        options: ClipOptions,
        steps: int,
        networks: Networks,
    ) -> None:
        self.of, self.checkpoints, self.motion_file = subjects, checkpoints, motion_file
        self.options, self.steps, self.networks = options, steps, networks
        self.subjects, self.styles = tuple(subjects), tuple(checkpoints)
        self.evaluator = functools.lru_cache(maxsize=None)(self._evaluator)
        self.scores = {name: better for name, better in SCORES.items() if networks.face or name != SEEN}
        self.meanings = {name: MEANINGS[name].format(**networks.named()) for name in self.scores}
        motion = None if motion_file is None else sha256_of(motion_file)
        self.fingerprint = fingerprint(VERSION, motion, options, networks.identified())
        _ = self.embedders  # a clip should not be drawn and then nobody be there to score it
        if self.motion is not None and options.frames > (most := self.motion.config.max_frames):
            raise ValueError(f"the motion module knows {most} frames at most, not {options.frames}")

    @functools.cached_property
    def motion(self) -> MotionModule | None:
        if self.motion_file is None:
            return None
        motion = load_motion_module(self.motion_file, dtype=torch.float32, device=best_device())
        return motion.requires_grad_(False)

    @functools.cached_property
    def detector(self) -> FaceDetector:
        return load_insight_faces(self.networks.face) if self.networks.face else load_centerface()

    @functools.cached_property
    def embedders(self) -> dict:
        """CLIP, DINO and faces, those that are wanted."""
        loaders = {"clip": load_clip, "dino": load_dino}
        found = {}
        for name, load in loaders.items():
            source = getattr(self.networks, name)
            if source != NONE:
                found[name] = load(Path(source) if Path(source).is_dir() else source).to(best_device())
        if self.networks.face:
            found["face"] = FaceEmbedder(self.detector, self.detector.name)
        return found

    def model(self, style: str) -> StableDiffusion:
        return _loaded(self.checkpoints[style])

    def photos(self, subject: str) -> list[Photo]:
        return _photos(self.of[subject].folder)

    def recipe(self, subject: str) -> Recipe:
        return Recipe(self.of[subject].noun, self.options.size, options=TrainingOptions(steps=self.steps))

    def caption(self, subject: str) -> str:
        raise ValueError("photos alone do not say in words who is to be seen: take the row of captions out of the plan")

    def clip(self, model: StableDiffusion, subject: Prompt, prompt: str, seed: int, gamma: float, stage: str) -> Tensor:
        detector = None if stage == "t2v" else self.detector  # before the clip: it may be missing
        before, after = prompt.split("{}")
        words = [before, *subject, after]
        clip = make_clip(model, words, [""], replace(self.options, gamma=gamma, seed=seed), self.motion)
        sampling = Sampling(gamma=gamma, seed=seed)
        if detector is not None:
            options = RefineOptions(gamma=gamma, seed=seed)
            plan = plan_faces(find_faces(clip, detector), CROP)
            refine = face_refiner(model, words, [""], sampling, self.motion)
            jobs = [FaceJob(path, refine) for path in plan.paths]
            drawn = refine_faces(clip, jobs, CROP, options, plan.left_alone)
            clip = torch.stack([frame.image for frame in drawn])
        if stage == "tiled":
            clip = refine_in_tiles(model, clip, words, [""], sampling, TILES, self.motion)
        return clip

    def settings_of(self, stage: str, style: str) -> tuple:
        faces = (CROP, RefineOptions(), Sampling())
        return _hashed(self.checkpoints[style]), *{"t2v": (), "face": faces, "tiled": (*faces, TILES)}[stage]

    def score(self, subject: str, prompt: str, clip: Tensor) -> dict[str, float]:
        evaluator = self.evaluator(subject).with_prompt(prompt.replace("{}", f"a {self.of[subject].noun}"))
        found = {one.name: one for one in evaluator.score(clip).scores}
        scores = {name: one.mean for name, one in found.items() if not one.missing and name in self.scores}
        if evaluator.knows_a_face:
            scores[SEEN] = len(found["face similarity"].values) / len(clip)
        return scores

    def _evaluator(self, subject: str) -> Evaluator:
        """One for all clips of a subject, whose photos are looked at once."""
        return Evaluator([photo.image for photo in self.photos(subject)], **self.embedders)
