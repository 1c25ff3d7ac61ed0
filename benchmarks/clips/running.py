"""Makes and scores the clips that are not there yet."""

import json
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import torch
from torch import Tensor

from vcd_core.files import sha256_of, unfinished_file
from vcd_core.identity import fingerprint
from vcd_core.standalone.record import record_file
from vcd_core.video import check_whole, probe_video, read_video, write_video

from .learned import Learned, method_of, parameters_in
from .plan import Plan, Row
from .store import Scored, Store, alone
from .world import World

CLIPS, FRAMES, LEARNED, VIDEOS = "clips.csv", "frames", "learned", "videos"
NO_NAME = re.compile(r'[<>:"/\\|?*]')  # of a folder on every system
CAPTION = "caption"  # the method that takes all words for the noun
SHOWN = 4  # frames of a clip on a contact sheet


@dataclass(frozen=True)
class Wanted:
    """One clip of a plan; `number` is its prompt's, from 1."""

    row: Row
    subject: str
    number: int
    prompt: str
    seed: int

    @property
    def stem(self) -> str:
        return f"{self.subject}_{self.number:02}_{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a run leaves.

    Attributes:
        clips: by row, those that are there.
        failed: clips that could not be made, and why.
        parameters, sizes: by row, how many numbers were learned of a subject, and the mean bytes of their file.
        stopped: by Ctrl-C, so that more is to be made.
    """

    clips: Mapping[str, list[Scored]]
    failed: list[tuple[str, str]]
    parameters: Mapping[str, int]
    sizes: Mapping[str, float]
    stopped: bool = False


def wanted_clips(plan: Plan) -> Iterator[Wanted]:
    """All of a plan, a row's subject by subject."""
    for row in plan.rows:
        for subject, (number, prompt), seed in product(row.subjects, enumerate(row.prompts, 1), row.seeds):
            yield Wanted(row, subject, number, prompt, seed)


Made = tuple[Wanted, Scored | None, str]
"""A clip that was asked for, and what became of it or why nothing did."""


@dataclass(frozen=True)
class Work:
    """All that a run has to do, for whoever does it.

    Attributes:
        groups: the clips of each row and subject.
        missing: which of some clips are not there, by fingerprint; says and notes which of them cannot be made.
        say: takes a line about how it goes.
    """

    plan: Plan
    world: World
    learned: Learned
    groups: Sequence[Sequence[Wanted]]
    missing: Callable[[Sequence[Wanted]], dict[str, Wanted]]
    say: Callable[[str], object]


def make_here(work: Work) -> Iterator[Made]:
    """Makes what is missing, one clip after the other."""
    for some in work.groups:
        work.say(f"{some[0].row.name}: {some[0].subject}")
        yield from make_clips(work.missing(some), work.plan, work.world, work.learned)


def run(
    plan: Plan,
    world: World,
    say: Callable[[str], object] = lambda line: None,
    make: Callable[[Work], Iterator[Made]] = make_here,
) -> Outcome:
    """Goes on where an earlier run of the same plan was stopped; a clip that cannot be made does not stop the others.

    Raises:
        ValueError: another run is at work in the folder, or the file of its clips has other scores or a
            damaged line.
    """
    learned = Learned(world, plan.out / LEARNED, plan.class_pictures)
    wanted, failed = list(wanted_clips(plan)), []
    groups = [list(some) for _, some in groupby(wanted, key=lambda one: (one.row.name, one.subject))]
    keys: dict[tuple, str] = {}

    def fail(one: Wanted, why: str) -> None:
        failed.append((f"{one.row.name}, {one.stem}", why))
        say(f"{failed[-1][0]} failed: {why}")

    with alone(plan.out / CLIPS):
        store = Store(plan.out / CLIPS, tuple(world.scores))
        done = {clip.fingerprint: clip for clip in store}

        def missing(some: Sequence[Wanted]) -> dict[str, Wanted]:
            todo = {}
            for one in some:
                try:
                    key = keys[_key(one)] = clip_fingerprint(one, world, learned)
                except (ValueError, OSError) as error:
                    fail(one, told(error))
                    continue
                if key not in done:
                    todo[key] = one
            return todo

        stopped = False
        try:
            for one, scored, why in make(Work(plan, world, learned, groups, missing, say)):
                if scored is None:
                    fail(one, why)
                else:
                    store.add(scored)
                    done[scored.fingerprint] = scored
        except KeyboardInterrupt:
            if not keys:  # it had hardly begun
                raise
            stopped = True
            say("stopped: the report of what is there follows; Ctrl-C again leaves it out")
            for one in wanted:  # those that it did not come to, some of which are there from before
                if _key(one) not in keys:
                    with suppress(ValueError, OSError):
                        keys[_key(one)] = clip_fingerprint(one, world, learned)
    clips: dict[str, list[Scored]] = {row.name: [] for row in plan.rows}
    lacking, videos = 0, {file.stem.rpartition("-")[2] for file in (plan.out / VIDEOS).glob("*/*.mp4")}
    for one in wanted:
        if (clip := done.get(keys.get(_key(one)))) is not None:
            clips[one.row.name].append(clip)
            lacking += clip.of == (one.row.method, one.row.ablation) and _lacks(one, clip.fingerprint, plan, videos)
    if lacking:
        say(
            f"of {lacking} clips that were made before there is no picture or video, which the plan did not ask for "
            f"then or which are gone: take their lines out of {plan.out / CLIPS} to make them again"
        )
    return Outcome(clips, failed, *_sizes(plan, learned, clips), stopped)


def clip_fingerprint(one: Wanted, world: World, learned: Learned) -> str:
    """Of all that a clip and its scores follow from; raises ValueError where photos or a video cannot be read."""
    row = one.row
    if row.videos:  # what is learned has the photos and the noun, by which clips are scored, in its name
        source = [sha256_of(_video(one)), world.photos(one.subject), world.recipe(one.subject).noun]
    else:
        source = learned.file(row, one.subject).name
    drawn = (one.subject, one.prompt, one.seed, row.gamma, row.stage, row.style)
    return fingerprint(world.fingerprint, source, *drawn, *world.settings_of(row.stage, row.style))


def _key(one: Wanted) -> tuple:
    return one.row.name, one.subject, one.number, one.seed


def make_clips(todo: Mapping[str, Wanted], plan: Plan, world: World, learned: Learned) -> Iterator[Made]:
    """Clips of one row and subject, by fingerprint; what of them is shown or kept lies in the plan's folder."""
    if not todo:
        return
    first = next(iter(todo.values()))
    row, subject = first.row, first.subject
    context = nullcontext((None, ()))
    if row.videos is None:
        try:
            tensors, model = learned.tensors(row, subject), world.model(row.style)
            noun = world.caption(subject) if row.method == CAPTION else world.recipe(subject).noun
        except (ValueError, torch.OutOfMemoryError) as error:
            yield from ((one, None, told(error)) for one in todo.values())
            return
        context = method_of(row).applied(model, tensors, noun)
    with context as (model, words):
        for key, one in todo.items():
            start = time.perf_counter()
            try:
                if row.videos is None:
                    clip = world.clip(model, words, one.prompt, one.seed, row.gamma, row.stage)
                else:
                    clip = whole_video(_video(one))
                scores = {
                    name: value for name, value in world.score(subject, one.prompt, clip).items() if value == value
                }
            except (ValueError, OSError, torch.OutOfMemoryError) as error:
                yield one, None, told(error)
                continue
            _keep(one, clip, plan, world, key)
            seconds = time.perf_counter() - start
            yield one, Scored(key, row.method, row.ablation, subject, one.prompt, one.seed, scores, seconds), ""


def _keep(one: Wanted, clip: Tensor, plan: Plan, world: World, key: str) -> None:
    """Writes what is shown of a clip, and if the plan says so all of it."""
    from PIL import Image

    if _is_shown(one, plan):
        chosen = clip[torch.linspace(0, len(clip) - 1, SHOWN).round().long()]
        pixels = (torch.cat(list(chosen), 1).clamp(0, 1) * 255).round().byte().cpu().numpy()
        with unfinished_file(frames_file(plan, key)) as unfinished:
            Image.fromarray(pixels).save(unfinished, format="JPEG", quality=90)
    if _is_kept(one, plan):
        folder = plan.out / VIDEOS / NO_NAME.sub("-", one.row.name)
        video = folder / f"{one.stem}-{key}.mp4"
        with unfinished_file(record_file(video)) as unfinished:
            said = {"prompt": one.prompt, "subject": one.subject, "seed": one.seed, "row": one.row.name}
            unfinished.write_text(json.dumps(said, ensure_ascii=False), encoding="utf-8")
        write_video(video, clip, world.fps)


def _is_shown(one: Wanted, plan: Plan) -> bool:
    known = one.subject in plan.rows[0].subjects[: plan.sheet_subjects]
    return known and one.number <= plan.sheets and one.seed == one.row.seeds[0]


def _is_kept(one: Wanted, plan: Plan) -> bool:
    return plan.keep and one.row.videos is None


def _lacks(one: Wanted, key: str, plan: Plan, videos: Collection[str]) -> bool:
    """Whether a clip was made when a plan did not yet ask for what this one keeps of it, or that is gone since.

    Args:
        videos: fingerprints of the clips that are kept as videos.
    """
    return (_is_shown(one, plan) and not frames_file(plan, key).exists()) or (_is_kept(one, plan) and key not in videos)


def frames_file(plan: Plan, key: str) -> Path:
    """Where a few frames of a clip lie side by side, if it is shown on a contact sheet."""
    return plan.out / FRAMES / f"{key}.jpg"


def _video(one: Wanted) -> Path:
    """Of a clip that somebody else made, or that a plan kept, which says beside it of which prompt it is."""
    named = re.compile(rf"{re.escape(one.stem)}(-[0-9a-f]{{16}})?\.mp4")
    files = sorted(file for file in one.row.videos.iterdir() if named.fullmatch(file.name))
    if not files:
        raise ValueError(
            f"there is no video {one.row.videos / one.stem}.mp4: its name is SUBJECT_PROMPT_SEED.mp4, "
            "the prompt's number from 01"
        )
    if len(files) > 1:
        listed = " and ".join(file.name for file in files)
        raise ValueError(f"{one.row.videos} has {listed} for the same clip: take out all but one")
    if files[0].stem != one.stem:
        prompt = json.loads(record_file(files[0]).read_text(encoding="utf-8"))["prompt"]
        if prompt != one.prompt:
            raise ValueError(f"{files[0]} is of the prompt {prompt!r}: give a plan that has it in this place")
    return files[0]


def whole_video(file: Path) -> Tensor:
    """(F, H, W, 3) in [0, 1]; raises ValueError where frames are missing."""
    frames = list(read_video(file))
    check_whole(file, probe_video(file), len(frames))
    return torch.stack(frames)


def _sizes(plan: Plan, learned: Learned, clips: Mapping[str, list[Scored]]) -> tuple[dict[str, int], dict[str, float]]:
    parameters, sizes = {}, {}
    for row in plan.rows:
        subjects = [] if row.videos else dict.fromkeys(clip.subject for clip in clips[row.name])
        files = [file for subject in subjects if (file := learned.file(row, subject)).exists()]
        if files:
            with suppress(ValueError):  # damaged since: nothing that was made of it is worse for that
                parameters[row.name] = parameters_in(files[0])
                sizes[row.name] = sum(file.stat().st_size for file in files) / len(files)
    return parameters, sizes


def told(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split())


def say(line: str) -> None:
    sys.stderr.write(line + "\n")
