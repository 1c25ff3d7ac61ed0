"""The commands of `vcd` that make clips: `t2v`, `face`, `upscale` and `v2v`.

All are stages in a row: a clip streams through pieces drawn anew, Face VCD and Tiled VCD. What has to be known of the
whole of it, where its cuts and its faces are, is found in a pass before.
"""

import argparse
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor

from ..faces import (
    ALL,
    CropOptions,
    FaceChoice,
    FaceJob,
    FacePlan,
    FoundFaces,
    InOrder,
    RefineOptions,
    find_faces,
    plan_faces,
    reference_embedding,
    refine_faces,
    window_count,
)
from ..identity import load_photo
from ..motion import MotionModule
from ..pictures import enlarged, scaled_size
from ..tiles import Piece, check_clip_fits, in_pieces, pieces_of
from ..video import (
    CONTAINERS,
    VideoInfo,
    check_not_itself,
    convert_video,
    copy_video,
    probe_video,
    read_video,
    write_video,
)
from ..vision import (
    LICENCES,
    FaceDetector,
    NamedFaces,
    check_words,
    load_centerface,
    load_grounding_dino,
    load_insight_faces,
    load_yunet,
)
from ..wording import counted
from .console import check_files, check_frames, check_output, controls_of, loaded, motion_of, say
from .controlnet import Control
from .faces import face_refiner
from .model import Prompt, StableDiffusion
from .pipeline import ClipOptions, Sampling, make_clip
from .prompts import parse_prompt
from .record import forget_record, record_of, write_record
from .tiles import TileOptions, tile_refiner

Frames = Iterable[Tensor]
LEAST_READABLE = 0.95  # of the frames that a file says it has


def t2v(arguments: argparse.Namespace) -> None:
    check_clip_arguments(arguments)
    motion = motion_of(arguments)
    check_frames(motion, arguments.frames, "--frames")
    make_one(arguments, loaded(arguments.checkpoint), motion)


def check_clip_arguments(arguments: argparse.Namespace) -> None:
    """What can be told of `t2v` before anything is loaded; raises ValueError."""
    check_output(arguments.output, [".mp4"])
    check_files(arguments.checkpoint, arguments.motion_module)
    _check_fits(arguments.frames, (arguments.size, arguments.size), "fewer --frames,")
    for words in (arguments.prompt, arguments.negative):
        parse_prompt(words, arguments.embeddings)


def make_one(arguments: argparse.Namespace, model: StableDiffusion, motion: MotionModule | None) -> None:
    """A clip of `t2v` with what is loaded, and its record."""
    start = time.perf_counter()
    record = record_of(arguments)
    prompt, negative = (parse_prompt(words, arguments.embeddings) for words in (arguments.prompt, arguments.negative))
    options = ClipOptions(
        arguments.frames,
        arguments.size,
        arguments.steps,
        arguments.cfg,
        arguments.sampler,
        arguments.scheduler,
        arguments.gamma,
        arguments.seed,
    )
    clip = make_clip(model, prompt, negative, options, motion)
    forget_record(arguments.output)
    path = write_video(arguments.output, clip, arguments.fps)
    write_record(path, record, time.perf_counter() - start)
    say(f"{path}: {len(clip)} frames")


def face(arguments: argparse.Namespace) -> None:
    """Two passes over the video: one finds the faces, one draws them."""
    start = time.perf_counter()
    crop, options = _face_options(arguments)
    info = _checked_video(arguments)
    prompts = [parse_prompt(words, arguments.embeddings) for words in arguments.prompt]
    negative = parse_prompt(arguments.negative, arguments.embeddings)
    _check_people(prompts, arguments)
    motion = motion_of(arguments)
    detector = _detector(arguments)
    people = _people(prompts, arguments, detector)
    record = record_of(arguments)
    found = _looked_through(read_video(arguments.video), detector, info)
    plan = plan_faces(found, crop, people)
    for line in plan.report:
        say(line)
    if options.strength == 0:
        say("strength 0 changes nothing")
    if not plan.paths or options.strength == 0:
        forget_record(arguments.output)
        copied = copy_video(arguments.video, arguments.output)
        write_record(copied, record, time.perf_counter() - start, plan.report)
        say(f"{copied}: as it was")
        return
    check_frames(motion, min(options.window, max(len(path.frames) for path in plan.paths)), "--window")
    model = loaded(arguments.checkpoint)
    with _steps(window_count(plan.paths, options) * arguments.steps, "drawing faces") as progress:
        drawn = _faces_drawn(model, prompts, negative, _sampling(arguments), motion, plan, crop, options, progress)
        forget_record(arguments.output)
        path = convert_video(arguments.video, arguments.output, drawn)
    write_record(path, record, time.perf_counter() - start, plan.report)
    say(f"{path}: {counted(len(found.faces), 'frame')}, {counted(len(plan.paths), 'face')} drawn anew")


def upscale(arguments: argparse.Namespace) -> None:
    """Two passes over the video: one finds its cuts, one enlarges it and draws its detail anew."""
    start = time.perf_counter()
    info = _checked_video(arguments)
    prompt, negative = (parse_prompt(words, arguments.embeddings) for words in (arguments.prompt, arguments.negative))
    options = _tile_options(arguments)
    height, width = scaled_size((info.height, info.width), options.upscale_by)
    motion = motion_of(arguments)
    found = _looked_through(read_video(arguments.video), None, info)
    pieces = _pieces(found, arguments, motion, (height, width))
    record = record_of(arguments)
    model, controls = loaded(arguments.checkpoint), _tile_controls(arguments)
    with _steps(_steps_of(options, pieces, arguments.steps), "drawing detail") as progress:
        refine = tile_refiner(model, prompt, negative, _sampling(arguments), options, motion, progress, controls)
        forget_record(arguments.output)
        path = convert_video(arguments.video, arguments.output, lambda frames: in_pieces(frames, pieces, refine))
    write_record(path, record, time.perf_counter() - start)
    say(f"{path}: {len(found.faces)} frames of {width}x{height}")


def v2v(arguments: argparse.Namespace) -> None:
    """Two passes over the video: one finds cuts and faces, in the other it streams through all stages."""
    start = time.perf_counter()
    info = _checked_video(arguments)
    size = scaled_size((info.height, info.width), arguments.size / min(info.height, info.width))
    whole = TileOptions(1.0, arguments.strength, 0, 0, arguments.window, arguments.overlap)
    tiles = _tile_options(arguments)
    height, width = scaled_size(size, tiles.upscale_by)
    for name, given in (("tile-prompt", arguments.tile_prompt), ("tile-controlnet", arguments.tile_controlnet)):
        if given and tiles.upscale_by == 1:
            raise ValueError(f"--{name} is for what --upscale-by enlarges: give a number above 1 there too")
    crop = CropOptions(arguments.face_size, min_enlargement=arguments.min_enlargement)
    faces = RefineOptions(arguments.face_strength, arguments.gamma, arguments.seed, arguments.window, arguments.overlap)
    words = (arguments.prompt, arguments.tile_prompt or arguments.prompt, arguments.negative)
    prompt, tile_prompt, negative = (parse_prompt(one, arguments.embeddings) for one in words)
    face_prompts = [parse_prompt(one, arguments.embeddings) for one in arguments.face_prompt]
    if faces.strength == 0:
        face_prompts = []
    if not face_prompts and arguments.which is not None:
        raise ValueError("--which chooses a face for --face-prompt to draw: give that too, and a strength above 0")
    _check_people(face_prompts, arguments)
    _check_hints(arguments, info)
    motion = motion_of(arguments)
    detector = _detector(arguments) if face_prompts else None

    def scaled(frames: Frames) -> Iterator[Tensor]:
        return (enlarged(frame[None], size)[0] for frame in frames)

    found = _looked_through(scaled(read_video(arguments.video)), detector, info)
    pieces = _pieces(found, arguments, motion, (height, width))
    plan = FacePlan()
    if face_prompts:
        plan = plan_faces(found, crop, _people(face_prompts, arguments, detector))
    for line in plan.report:
        say(line)
    check_frames(motion, min(faces.window, max((len(path.frames) for path in plan.paths), default=1)), "--window")
    record = record_of(arguments)
    model, controls = loaded(arguments.checkpoint), controls_of(arguments.controlnet if whole.strength > 0 else ())
    sampling = _sampling(arguments)
    stages = (whole, tiles) if tiles.upscale_by > 1 else (whole,)
    steps = window_count(plan.paths, faces) * sampling.steps
    steps += sum(_steps_of(options, pieces, sampling.steps) for options in stages)
    with _steps(steps, "drawing") as progress:
        refine = tile_refiner(model, prompt, negative, sampling, whole, motion, progress, controls)
        tile_controls = _tile_controls(arguments) if tiles in stages else []
        refine_large = tile_refiner(model, tile_prompt, negative, sampling, tiles, motion, progress, tile_controls)
        draw_faces = _faces_drawn(model, face_prompts, negative, sampling, motion, plan, crop, faces, progress)

        def all_stages(frames: Frames) -> Frames:
            hints = (scaled(read_video(file)) for file in arguments.hint)
            told = (torch.cat(together, -1) for together in zip(scaled(frames), *hints, strict=False))
            drawn = draw_faces(in_pieces(told, pieces, refine))
            return in_pieces(drawn, pieces, refine_large) if tiles in stages else drawn

        forget_record(arguments.output)
        path = convert_video(arguments.video, arguments.output, all_stages)
    write_record(path, record, time.perf_counter() - start, plan.report)
    frames, faces = counted(len(found.faces), "frame"), counted(len(plan.paths), "face")
    say(f"{path}: {frames} of {width}x{height}, {faces} drawn anew")


def _face_options(arguments: argparse.Namespace) -> tuple[CropOptions, RefineOptions]:
    crop = CropOptions(
        arguments.size,
        arguments.margin,
        mask_margin=arguments.mask_margin,
        feather=arguments.feather,
        upright=arguments.upright,
        min_enlargement=arguments.min_enlargement,
    )
    return crop, RefineOptions(arguments.strength, arguments.gamma, arguments.seed, arguments.window, arguments.overlap)


def _checked_video(arguments: argparse.Namespace) -> VideoInfo:
    """What the video says of itself; raises ValueError for what can be told before anything is loaded."""
    check_output(arguments.output, CONTAINERS)
    nets = [*getattr(arguments, "controlnet", ()), getattr(arguments, "tile_controlnet", None)]
    check_files(arguments.checkpoint, arguments.motion_module, *(net[0] for net in nets if net is not None))
    for name, frames in (("window", arguments.window), ("piece", getattr(arguments, "piece", None))):
        if frames is not None and arguments.overlap >= frames:
            raise ValueError(f"--overlap {arguments.overlap} must be less than --{name}, which is {frames}")
    info = probe_video(arguments.video)
    check_not_itself(arguments.video, arguments.output)
    if info.transparent:
        say(f"{arguments.video}: its transparency is left out, since {arguments.output.name} cannot hold any")
    return info


def _looked_through(frames: Frames, detector: FaceDetector | None, info: VideoInfo) -> FoundFaces:
    """The cuts of a video, and its faces where there is a detector."""
    from tqdm import tqdm

    looks_for = "cuts" if detector is None else "faces"
    with tqdm(desc=f"finding {looks_for}", total=info.frames or None, unit="frame") as progress:
        found = find_faces(frames, detector or InOrder(repeat(())), lambda done: progress.update(done - progress.n))
    if len(found.faces) < LEAST_READABLE * info.frames:
        raise ValueError(
            f"of {info.frames} frames that the video should have {len(found.faces)} are there: it is damaged, or was "
            "not downloaded whole"
        )
    return found


def _pieces(
    found: FoundFaces, arguments: argparse.Namespace, motion: MotionModule | None, size: tuple[int, int]
) -> list[Piece]:
    """The pieces of a video; raises ValueError where they do not fit into memory at their last size (height, width),
    or their windows are longer than the motion module knows.
    """
    pieces = pieces_of(len(found.faces), found.cuts, arguments.piece, arguments.overlap)
    longest = max(len(piece.frames) for piece in pieces)
    check_frames(motion, min(arguments.window, longest), "--window")
    _check_fits(longest, size, "a --piece")
    return pieces


def _check_fits(frames: int, size: tuple[int, int], shorter: str) -> None:
    from psutil import virtual_memory

    check_clip_fits(frames, *size, virtual_memory().available, copies=3, shorter=shorter)


def _faces_drawn(
    model: StableDiffusion,
    prompts: list[Prompt],
    negative: Prompt,
    sampling: Sampling,
    motion: MotionModule | None,
    plan: FacePlan,
    crop: CropOptions,
    options: RefineOptions,
    progress: Callable[[], object],
) -> Callable[[Frames], Iterator[Tensor]]:
    """Draws the faces of a plan in frames that stream through."""
    refine = [face_refiner(model, prompt, negative, sampling, motion, progress) for prompt in prompts]
    jobs = [FaceJob(path, refine[number]) for path, number in zip(plan.paths, plan.people, strict=True)]
    return lambda frames: (frame.image for frame in refine_faces(frames, jobs, crop, options, plan.left_alone))


@contextmanager
def _steps(total: int, title: str) -> Iterator[Callable[[], object]]:
    from tqdm import tqdm

    with tqdm(desc=title, total=total, unit="step") as progress:
        yield progress.update


def _steps_of(options: TileOptions, pieces: list[Piece], steps: int) -> int:
    """That a stage will take."""
    return len(pieces) * steps if options.strength > 0 else 0


def _sampling(arguments: argparse.Namespace) -> Sampling:
    return Sampling(
        arguments.steps, arguments.cfg, arguments.sampler, arguments.scheduler, arguments.gamma, arguments.seed
    )


def _tile_options(arguments: argparse.Namespace) -> TileOptions:
    """Checked as far as they can be without the video."""
    options = TileOptions(
        arguments.upscale_by,
        arguments.tile_strength,
        arguments.tile,
        arguments.tile_overlap,
        arguments.window,
        arguments.overlap,
    )
    if options.overlap >= options.tile:
        raise ValueError(f"--tile-overlap {options.overlap} must be less than --tile, which is {options.tile}")
    return options


def _tile_controls(arguments: argparse.Namespace) -> list[Control]:
    return controls_of([arguments.tile_controlnet] if arguments.tile_controlnet else [])


def _check_hints(arguments: argparse.Namespace, info: VideoInfo) -> None:
    """Raises ValueError where hints are no videos, too few or too short."""
    nets = len(arguments.controlnet)
    if len(arguments.hint) not in (0, nets):
        raise ValueError(
            f"{nets} --controlnet and {len(arguments.hint)} --hint: give a hint for each, in the same order, or none"
        )
    for file in arguments.hint:
        hint = probe_video(file)
        if 0 < hint.frames < info.frames:
            raise ValueError(f"the hint {file} has {hint.frames} frames, the video {info.frames}: it must have as many")


def _check_people(prompts: list[Prompt], arguments: argparse.Namespace) -> None:
    references = len(arguments.reference)
    if references not in (0, len(prompts)):
        raise ValueError(
            f"{len(prompts)} prompts for faces and {references} --reference: give as many photos as prompts, in the "
            "same order"
        )
    if arguments.which is not None and len(prompts) > 1:
        raise ValueError("--which chooses one face; of several prompts each takes the next face in the order --faces")


def _people(prompts: list[Prompt], arguments: argparse.Namespace, detector: FaceDetector) -> list[FaceChoice]:
    """One for every prompt: the person of its photo, or the face of its number; a single prompt is for all faces."""
    if arguments.reference:
        photos = (load_photo(file).image for file in arguments.reference)
        return [FaceChoice(reference=reference_embedding(detector, photo)) for photo in photos]
    if len(prompts) > 1:
        return [FaceChoice(arguments.faces, number) for number in range(len(prompts))]
    return [FaceChoice(arguments.faces, ALL if arguments.which is None else arguments.which)]


def _detector(arguments: argparse.Namespace) -> FaceDetector:
    """What finds the faces, its licence told; raises ValueError for a file that is needed and not given."""
    detector = _loaded_detector(arguments)
    say(LICENCES[arguments.detector])
    return detector


def _loaded_detector(arguments: argparse.Namespace) -> FaceDetector:
    file, size, threshold = arguments.detector_file, arguments.detector_size, arguments.detector_threshold
    if arguments.detector == "words":
        if not arguments.grounding_dino:
            raise ValueError('the detector "words" needs --grounding-dino FOLDER or a Hugging Face id')
        check_words(arguments.words)  # before the network is loaded
        folder = Path(arguments.grounding_dino)
        network = load_grounding_dino(folder if folder.is_dir() else str(folder), size)
        return NamedFaces(network, arguments.words, **({} if threshold is None else {"box_threshold": threshold}))
    chosen = {"size": size, "threshold": threshold}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if arguments.detector == "centerface":
        return load_centerface(file, **chosen)
    if file is None:
        raise ValueError(f"the detector {arguments.detector} needs its file or folder: add --detector-file")
    return (load_yunet if arguments.detector == "yunet" else load_insight_faces)(file, **chosen)
