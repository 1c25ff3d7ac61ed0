"""What the commands of `vcd` do: check what is quick to check, then load, work and write."""

import argparse
import sys
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import torch

from ..faces import (
    ALL,
    CropOptions,
    FaceChoice,
    FaceJob,
    RefineOptions,
    find_faces,
    plan_faces,
    reference_embedding,
    refine_faces,
    window_count,
)
from ..identity import (
    Augmentation,
    IDToken,
    Recipe,
    TrainingDiverged,
    TrainingOptions,
    check_token_name,
    convert_id_token,
    find_id_token,
    id_tokens_in,
    load_photo,
    load_photos,
    make_thumbnail,
    save_id_token,
    save_or_reuse_id_token,
    save_partial_id_token,
    save_token_sheet,
    training_file,
)
from ..motion import MotionModule, load_motion_module, merge_motion_lora, read_motion_lora
from ..video import CONTAINERS, check_not_itself, convert_video, copy_video, probe_video, read_video, write_video
from ..vision import FaceDetector, NamedFaces, load_centerface, load_grounding_dino, load_insight_faces, load_yunet
from .checkpoint import load_checkpoint
from .faces import face_refiner
from .pipeline import ClipOptions, Sampling, make_clip, plan, train_token
from .prompts import parse_prompt


def train(arguments: argparse.Namespace) -> None:
    name = check_token_name(arguments.name)
    recipe = Recipe(
        arguments.noun.strip(),
        arguments.size,
        arguments.tokens,
        arguments.initial_words,
        None if arguments.no_augmentation else Augmentation(),
        arguments.early_stop > 0,
        TrainingOptions(
            arguments.steps,
            arguments.batch_size,
            arguments.learning_rate,
            arguments.weight_decay,
            arguments.hold_norm,
            arguments.context_weight,
            noise_offset=arguments.noise_offset,
            seed=arguments.seed,
            patience=arguments.early_stop,
        ),
    )
    photos = load_photos(arguments.photos)
    arguments.out.mkdir(parents=True, exist_ok=True)
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=best_device()).in_precision(arguments.precision)
    if not arguments.keep_activations:
        model.unet.enable_gradient_checkpointing()

    planned = plan(model, photos, recipe, linear=arguments.linear_schedule)
    for remark in planned.remarks:
        say(remark)
    there = None if arguments.overwrite else find_id_token(arguments.out, name, planned.settings)
    if there is not None:
        say(f"{there.name} was trained on the same photos with the same settings: write {there.prompt!r} into a prompt")
        return
    checkpoint = training_file(arguments.out, name, planned.settings)
    failure = None
    try:
        state = train_token(model, planned, checkpoint=checkpoint, linear=arguments.linear_schedule)
    except TrainingDiverged as error:
        failure, state = error, error.last
        if state is None:
            raise ValueError(str(error)) from error
    token = IDToken(
        name,
        state.vectors.cpu(),
        recipe.noun,
        state.step,
        arguments.checkpoint.stem,
        date.today().isoformat(),
        planned.settings,
        repr(recipe),
        state.losses,
        make_thumbnail(planned.shown()[0, :3].movedim(0, -1)),
    )
    if failure is not None:
        kept = save_partial_id_token(token, arguments.out)
        raise ValueError(f"{failure}. The vectors of step {state.step} were kept in {kept}") from failure
    save = partial(save_id_token, overwrite=True) if arguments.overwrite else save_or_reuse_id_token
    path = save(token, arguments.out)
    checkpoint.unlink(missing_ok=True)
    if state.parts > 1:
        say(f"batches were split into {state.parts} to fit into memory")
    say(f"{path}: write {replace(token, name=path.stem).prompt!r} into a prompt")


def tokens(arguments: argparse.Namespace) -> None:
    found = id_tokens_in(arguments.folder)
    if not found:
        raise ValueError(f"there are no ID tokens in {arguments.folder}")
    for token in found:
        about = f"{len(token.vectors)} vectors of {token.vectors.shape[1]}, {token.steps} steps"
        say("  ".join(part for part in (f"{token.name:24}", f"{token.noun:12}", about, token.base, token.date) if part))
    if arguments.sheet is not None:
        say(f"{save_token_sheet(found, arguments.sheet)}: the pictures of all")


def convert(arguments: argparse.Namespace) -> None:
    path = convert_id_token(
        arguments.file, arguments.out, name=arguments.name, noun=arguments.noun, overwrite=arguments.overwrite
    )
    say(str(path))


def t2v(arguments: argparse.Namespace) -> None:
    if arguments.output.suffix.lower() != ".mp4":
        raise ValueError(f"the output {arguments.output} must end in .mp4")
    prompt = parse_prompt(arguments.prompt, arguments.embeddings)
    negative = parse_prompt(arguments.negative, arguments.embeddings)
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
    motion = _motion(arguments)
    _check_frames(motion, options.frames, "--frames")
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=best_device())
    clip = make_clip(model, prompt, negative, options, motion)
    say(f"{write_video(arguments.output, clip, arguments.fps)}: {len(clip)} frames")


def face(arguments: argparse.Namespace) -> None:
    """Two passes over the video: one finds the faces, one draws them."""
    from tqdm import tqdm

    crop = CropOptions(
        arguments.size,
        arguments.margin,
        mask_margin=arguments.mask_margin,
        feather=arguments.feather,
        upright=arguments.upright,
    )
    options = RefineOptions(arguments.strength, arguments.gamma, arguments.seed, arguments.window, arguments.overlap)
    if arguments.output.suffix.lower() not in CONTAINERS:
        raise ValueError(f"the output {arguments.output} must end in one of {', '.join(sorted(CONTAINERS))}")
    prompts = [parse_prompt(words, arguments.embeddings) for words in arguments.prompt]
    negative = parse_prompt(arguments.negative, arguments.embeddings)
    _check_people(arguments)
    info = probe_video(arguments.video)
    check_not_itself(arguments.video, arguments.output)
    for file in (arguments.checkpoint, arguments.motion_module):
        if file is not None and not file.is_file():
            raise ValueError(f"there is no file {file}: check the name")
    motion = _motion(arguments)
    detector = _detector(arguments)
    people = _people(arguments, detector)
    with tqdm(desc="finding faces", total=info.frames or None, unit="frame") as progress:
        found = find_faces(read_video(arguments.video), detector, lambda done: progress.update(done - progress.n))
    plan = plan_faces(found, crop, people)
    for line in plan.report:
        say(line)
    if options.strength == 0:
        say("strength 0 changes nothing")
    if not plan.paths or options.strength == 0:
        copied = copy_video(arguments.video, arguments.output)
        say(f"{copied}: as it was")
        return
    _check_frames(motion, min(options.window, max(len(path.frames) for path in plan.paths)), "--window")
    say(f"loading {arguments.checkpoint}")
    model = load_checkpoint(arguments.checkpoint, device=best_device())
    sampling = Sampling(
        arguments.steps, arguments.cfg, arguments.sampler, arguments.scheduler, arguments.gamma, arguments.seed
    )
    total = window_count(plan.paths, options) * arguments.steps
    with tqdm(desc="drawing faces", total=total, unit="step") as progress:
        refine = [face_refiner(model, prompt, negative, sampling, motion, progress.update) for prompt in prompts]
        jobs = [FaceJob(path, refine[number]) for path, number in zip(plan.paths, plan.people, strict=True)]
        path = convert_video(
            arguments.video,
            arguments.output,
            lambda frames: (frame.image for frame in refine_faces(frames, jobs, crop, options)),
        )
    say(f"{path}: {len(found.faces)} frames, {len(jobs)} faces drawn anew")


def best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _check_people(arguments: argparse.Namespace) -> None:
    prompts, references = len(arguments.prompt), len(arguments.reference)
    if references not in (0, prompts):
        raise ValueError(
            f"{prompts} --prompt and {references} --reference: give as many photos as prompts, in the same order"
        )
    if arguments.which is not None and prompts > 1:
        raise ValueError("--which chooses one face; of several --prompt each takes the next face in the order --faces")


def _people(arguments: argparse.Namespace, detector: FaceDetector) -> list[FaceChoice]:
    """One for every prompt: the person of its photo, or the face of its number; a single prompt is for all faces."""
    if arguments.reference:
        photos = (load_photo(file).image for file in arguments.reference)
        return [FaceChoice(reference=reference_embedding(detector, photo)) for photo in photos]
    if len(arguments.prompt) > 1:
        return [FaceChoice(arguments.faces, number) for number in range(len(arguments.prompt))]
    return [FaceChoice(arguments.faces, ALL if arguments.which is None else arguments.which)]


def _detector(arguments: argparse.Namespace) -> FaceDetector:
    """What finds the faces; raises ValueError for a file that is needed and not given."""
    file, size, threshold = arguments.detector_file, arguments.detector_size, arguments.detector_threshold
    if arguments.detector == "words":
        if not arguments.grounding_dino:
            raise ValueError('the detector "words" needs --grounding-dino FOLDER or a Hugging Face id')
        folder = Path(arguments.grounding_dino)
        network = load_grounding_dino(folder if folder.is_dir() else str(folder), size)
        return NamedFaces(network, arguments.words, **({"box_threshold": threshold} if threshold else {}))
    chosen = {"size": size, "threshold": threshold}
    chosen = {name: value for name, value in chosen.items() if value}
    if arguments.detector == "centerface":
        return load_centerface(file, **chosen)
    if file is None:
        raise ValueError(f"the detector {arguments.detector} needs its file or folder: add --detector-file")
    return (load_yunet if arguments.detector == "yunet" else load_insight_faces)(file, **chosen)


def _motion(arguments: argparse.Namespace) -> MotionModule | None:
    """The motion module, if one is named, with its LoRAs."""
    if arguments.motion_module is None:
        if arguments.motion_lora:
            raise ValueError("a motion LoRA changes a motion module: add --motion-module FILE")
        say("no motion module: the frames will not move as one clip")
        return None
    return _load_motion(arguments.motion_module, arguments.motion_lora, best_device())


def _check_frames(motion: MotionModule | None, frames: int, option: str) -> None:
    if motion is not None and frames > motion.config.max_frames:
        raise ValueError(f"{option} {frames}: this motion module knows at most {motion.config.max_frames}")


def _load_motion(path: Path, loras: list[tuple[Path, float]], device: str) -> MotionModule:
    motion = load_motion_module(path, dtype=torch.float32, device=device).requires_grad_(False)
    for file, strength in loras:
        merge_motion_lora(motion, read_motion_lora(file), strength)
    return motion
