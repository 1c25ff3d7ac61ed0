"""All scores of a clip, frame by frame, so that none has to fit into memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import islice

import torch
from torch import Tensor

from ..vision.opencv import import_cv2
from ..wording import counted
from .backgrounds import background, resized_mask
from .embedders import Embedder
from .movement import FLOW, motion_and_flicker
from .report import ClipScores, Score
from .similarity import leakage, neighbour_similarity, reference_similarity, text_similarity

AT_ONCE = 16  # frames

NOT_GIVEN = {
    "CLIP": "no CLIP was given: choose one by --clip, in ComfyUI by clip_model",
    "DINO": "no DINO was given: choose one by --dino, in ComfyUI by dino_model",
    "face": "nothing that recognises faces was given: give insightface by --insightface, in ComfyUI by face_detector",
}
NO_PLACES = "neither DINO nor CLIP was given: choose one by --dino or --clip, in ComfyUI by dino_model or clip_model"
NO_REFERENCE = "no reference photos were given: give some by --reference, in ComfyUI by photos"
NO_PROMPT = "no prompt was given: write what the clip should show"
ONE_FRAME = "the clip has one frame, and this compares neighbouring ones"
NO_MASKS = "the clip has no masks of its subject: put CLIP.mask.mp4 beside it, in ComfyUI give masks"
NO_PHOTO_MASKS = "no reference photo has a mask of its subject and a background around it: put NAME.mask.png beside it"
NO_UNRELATED = "no pictures of other places were given: give some by --unrelated, in ComfyUI by unrelated"


class Evaluator:
    """Scores clips against one set of references, whose features are made once.

    A score whose network or material is not given is missing, and says so; the others stand. So is CLIP-T of a prompt
    that is too long, and the similarity of faces by what does not recognise them.

    Args:
        references: photos of the subject, (H, W, 3) in [0, 1], each of its own size.
        reference_masks: (H, W) for each, above 0.5 where the subject is, or None.
        prompt: what the clip should show, in words that CLIP knows.
        unrelated: pictures of other places, for the leakage of backgrounds. A mask of the references is laid over
            each, so that the holes in them count alike.
        clip: an Embedder; one that is a TextEmbedder also gives CLIP-T.
        dino: an Embedder, which backgrounds are compared by too, if there is one.
        face: an Embedder of faces. `FaceEmbedder` makes one of a face detector; anything else that tells who is to be
            seen will do.

    Raises:
        ValueError: from `clip` and `dino`, of the references.
    """

    def __init__(
        self,
        references: Sequence[Tensor] = (),
        reference_masks: Sequence[Tensor | None] = (),
        *,
        prompt: str = "",
        unrelated: Sequence[Tensor] = (),
        clip: Embedder | None = None,
        dino: Embedder | None = None,
        face: Embedder | None = None,
    ) -> None:
        networks = {"CLIP": clip, "DINO": dino, "face": face}
        self.no_flow = _without_flow()
        self.networks = {kind: network for kind, network in networks.items() if network is not None}
        self.has_references = bool(references)
        self.references: dict[str, Tensor] = {}
        self.unrecognised = ""
        for kind, network in self.networks.items() if references else ():
            try:
                self.references[kind] = network.embed_images(references)
            except ValueError as error:
                if kind != "face":
                    raise
                self.unrecognised = str(error)
        self._read(prompt)
        self.places = clip if dino is None else dino
        masked = [(photo, mask) for photo, mask in zip(references, reference_masks, strict=False) if mask is not None]
        self.backgrounds = self._embedded_backgrounds(masked)
        masks = [mask for _, mask in masked]
        self.unrelated = self._embedded_backgrounds(
            [
                (picture, resized_mask(masks[number % len(masks)], picture.shape[:2]))
                for number, picture in enumerate(unrelated if masks else ())
            ]
        )

    def with_prompt(self, prompt: str) -> "Evaluator":
        """The same for another prompt; the references are not looked at again."""
        other = copy(self)
        other._read(prompt)
        return other

    def score(
        self,
        frames: Iterable[Tensor],
        masks: Iterable[Tensor] | None = None,
        *,
        name: str = "clip",
        progress: Callable[[int], object] = lambda done: None,
    ) -> ClipScores:
        """All scores of one clip.

        Args:
            frames: (H, W, 3) in [0, 1], all of one size.
            masks: (H, W) for each, above 0.5 where the subject is; None if nobody knows.
            name: of the clip, for reports.
            progress: called with the number of frames that are done.

        Raises:
            ValueError: there are no frames, frames of several sizes, pixels that are no numbers, masks that do not fit,
                or from the frames themselves.
        """
        looked_at = [kind for kind in self.networks if kind != "face" or self.knows_a_face]
        features: dict[str, list[Tensor]] = {kind: [] for kind in looked_at}
        moves, flickers, places = [], [], []
        last, done, shape = None, 0, (0, 0)
        for piece in _pieces(_checked(frames, masks)):
            pictures = [frame for frame, _ in piece]
            for kind, rows in features.items():
                rows.append(self.networks[kind].embed_images(pictures))
            if not self.no_flow:
                amplitude, error = motion_and_flicker(pictures if last is None else [last, *pictures])
                moves.append(amplitude)
                flickers.append(error)
            if masks is not None:
                places.append(self._embedded_backgrounds(piece))
            last, done, shape = pictures[-1], done + len(piece), tuple(pictures[-1].shape[:2])
            progress(done)
        if last is None:
            raise ValueError(f"{name} has no frames")
        whole = {kind: _joined(rows) for kind, rows in features.items()}
        places = _joined([rows for rows in places if rows is not None])
        scores = [
            self._against_references("CLIP-I", "CLIP", whole),
            self._against_references("DINO", "DINO", whole),
            self._against_prompt(whole),
            self._smoothness("CLIP", whole),
            self._smoothness("DINO", whole),
            self._faces(whole),
            self._by_flow("motion amplitude", moves, done),
            self._by_flow("flicker", flickers, done),
            *self._backgrounds_of(places, masks is not None),
        ]
        return ClipScores(name, done, *shape, tuple(scores))

    def _read(self, prompt: str) -> None:
        self.prompt, self.text, self.unread = prompt.strip(), None, ""
        clip = self.networks.get("CLIP")
        if self.prompt and hasattr(clip, "embed_text"):
            try:
                self.text = clip.embed_text(self.prompt)
            except ValueError as error:  # it is too long
                self.unread = str(error)

    def _against_references(self, name: str, kind: str, features: dict[str, Tensor]) -> Score:
        if kind not in features:
            return Score(name, "", missing=NOT_GIVEN[kind])
        if kind not in self.references:
            return Score(name, "", missing=NO_REFERENCE)
        return _score(name, self.networks[kind].name, reference_similarity(features[kind], self.references[kind]))

    def _against_prompt(self, features: dict[str, Tensor]) -> Score:
        name = "CLIP-T"
        if "CLIP" not in features:
            return Score(name, "", missing=NOT_GIVEN["CLIP"])
        if not self.prompt:
            return Score(name, "", missing=NO_PROMPT)
        if self.text is None:
            wordless = f"{self.networks['CLIP'].name} knows no words: take a whole CLIP"
            return Score(name, "", missing=self.unread or wordless)
        return _score(name, self.networks["CLIP"].name, text_similarity(features["CLIP"], self.text))

    def _smoothness(self, kind: str, features: dict[str, Tensor]) -> Score:
        name = f"temporal, {kind}"
        if kind not in features:
            return Score(name, "", missing=NOT_GIVEN[kind])
        if len(features[kind]) == 1:
            return Score(name, "", missing=ONE_FRAME)
        return _score(name, self.networks[kind].name, neighbour_similarity(features[kind]))

    def _faces(self, features: dict[str, Tensor]) -> Score:
        name = "face similarity"
        if "face" not in self.networks:
            return Score(name, "", missing=NOT_GIVEN["face"])
        if self.unrecognised:
            return Score(name, "", missing=self.unrecognised)
        if "face" not in self.references:
            return Score(name, "", missing=NO_REFERENCE)
        known = ~self.references["face"].isnan().any(1)
        if "face" not in features:
            return Score(name, "", missing=f"no face was found in {counted(len(known), 'reference photo')}")
        seen = ~features["face"].isnan().any(1)
        if not seen.any():
            return Score(name, "", missing=f"no face was found in {counted(len(seen), 'frame')}")
        frames, photos = counted(len(seen), "frame"), counted(len(known), "photo")
        remark = f"a face in {int(seen.sum())} of {frames} and {int(known.sum())} of {photos}"
        alike = reference_similarity(features["face"][seen], self.references["face"][known])
        return _score(name, self.networks["face"].name, alike, remark)

    @property
    def knows_a_face(self) -> bool:
        """Whether a reference shows one, so that frames are looked at for theirs."""
        return "face" in self.references and bool((~self.references["face"].isnan()).any())

    def _by_flow(self, name: str, values: Sequence[Tensor], frames: int) -> Score:
        if self.no_flow or frames == 1:
            return Score(name, "", missing=self.no_flow or ONE_FRAME)
        pairs = torch.cat(list(values))
        known = pairs[~pairs.isnan()]
        if not len(known):
            return Score(name, "", missing="in no two neighbouring frames the same is to be seen: cuts or noise")
        remark = "" if len(known) == len(pairs) else f"{len(known)} of {len(pairs)} pairs of frames"
        return _score(name, FLOW, known, remark)

    def _backgrounds_of(self, places: Tensor | None, has_masks: bool) -> Iterator[Score]:
        names = ("background similarity", "background leakage")
        if self.places is None:
            missing = NO_PLACES
        elif not self.has_references:
            missing = NO_REFERENCE
        elif self.backgrounds is None:
            missing = NO_PHOTO_MASKS
        elif not has_masks:
            missing = NO_MASKS
        elif places is None:
            missing = "the subject fills every frame"
        else:
            yield _score(names[0], self.places.name, reference_similarity(places, self.backgrounds))
            if self.unrelated is None:
                yield Score(names[1], "", missing=NO_UNRELATED)
            else:
                yield _score(names[1], self.places.name, leakage(places, self.backgrounds, self.unrelated))
            return
        yield from (Score(name, "", missing=missing) for name in names)

    def _embedded_backgrounds(self, pictures: Sequence[tuple[Tensor, Tensor]]) -> Tensor | None:
        """(N, D) of the backgrounds of pictures with masks; None if there is none."""
        if self.places is None:
            return None
        cut = [left for picture, mask in pictures if (left := background(picture, mask)) is not None]
        return self.places.embed_images(cut) if cut else None


def _checked(frames: Iterable[Tensor], masks: Iterable[Tensor] | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Frames, each with its mask; raises ValueError for what does not fit together."""
    first = None
    remaining = iter(masks) if masks is not None else None
    for number, frame in enumerate(frames):
        first = first or _size(frame)
        if _size(frame) != first:
            raise ValueError(f"frame {number} is {_size(frame)} and the first {first}: a clip has one size")
        if not torch.isfinite(frame).all():
            raise ValueError(f"frame {number} has pixels that are not numbers: use a wider precision for the model")
        mask = None if remaining is None else next(remaining, None)
        if remaining is not None and (mask is None or _size(mask) != first):
            found = "there is none" if mask is None else f"it is {_size(mask)}"
            raise ValueError(f"the mask of frame {number} does not fit, {found}: give one a frame, of its size {first}")
        yield frame, mask
    if remaining is not None and next(remaining, None) is not None:
        raise ValueError("there are more masks than frames: give one a frame")


def _pieces(frames: Iterable) -> Iterator[list]:
    remaining = iter(frames)
    while piece := list(islice(remaining, AT_ONCE)):
        yield piece


def _joined(rows: Sequence[Tensor]) -> Tensor | None:
    """(N, D) of parts, in which a part that shows nothing may be (n, 1)."""
    if not rows:
        return None
    width = max(part.shape[1] for part in rows)
    return torch.cat([part if part.shape[1] == width else part[:, :1].expand(-1, width) for part in rows])


def _without_flow() -> str:
    """Why there can be no optical flow; "" if there can."""
    try:
        import_cv2()
    except ImportError as error:
        return str(error)
    return ""


def _score(name: str, backbone: str, values: Tensor, remark: str = "") -> Score:
    return Score(name, backbone, tuple(values.tolist()), remark=remark)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
