"""What the page asks for: which ID tokens there are, and the photos of a folder, each with its picture.

Every name in a request is looked up in a listing, so none leads out of a folder. Files are read on a thread, one at a
time, so that neither the page nor memory suffers.
"""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from aiohttp import web

from ...vcd_core.identity import IDToken, cropped, faded, load_id_token, load_photo
from ...vcd_core.identity.photos import photo_files
from ..convert import to_pil
from .folders import EMBEDDINGS, model_path, photo_folder, token_files
from .page import running_server

SIDE = 128  # pixels of a photo's picture
CACHED = 256
READER = ThreadPoolExecutor(1, "vcd-pictures")
BAD_REQUEST, NOT_FOUND = 400, 404


def add_routes() -> None:
    """Adds them to the running server; without one, nothing."""
    host = running_server()
    if host is None:
        return
    host.routes.get("/vcd/tokens")(_answering(tokens))
    host.routes.get("/vcd/token_picture")(_answering(token_picture))
    host.routes.get("/vcd/photos")(_answering(photos))
    host.routes.get("/vcd/photo_picture")(_answering(photo_picture))


def tokens(_query) -> web.Response:
    """Every ID token that a prompt can call: its file, what a prompt says, and what is known about it."""
    found = []
    for file in token_files():
        name = Path(file).with_suffix("").as_posix()
        token = None if re.search(r"\s", name) else _token(file)  # a space ends a name in a prompt
        if token is not None:
            path = model_path(EMBEDDINGS, file)
            prompt = f"embedding:{name} {token.noun}".strip()
            found.append(
                {"file": file, "name": name, "noun": token.noun, "prompt": prompt, "steps": token.steps}
                | {"vectors": len(token.vectors), "width": token.vectors.shape[1], "size": path.stat().st_size}
                | {"picture": bool(token.thumbnail)}
            )
    return web.json_response(found)


def token_picture(query) -> web.Response:
    file = query.get("file", "")
    token = _token(file) if file in token_files() else None
    if token is None or not token.thumbnail:
        return _refused(f"there is no picture of an ID token {file!r}", NOT_FOUND)
    return web.Response(body=token.thumbnail, content_type="image/jpeg")


def photos(query) -> web.Response:
    """The photos of a folder in the order in which they are used, and whether each has a mask file.

    A folder that is not there, or cannot be used, is what a new workflow begins with, and so part of an answer.
    """
    try:
        files = photo_files(photo_folder(query.get("folder", "")))
    except ValueError as error:
        return web.json_response({"photos": [], "error": str(error)})
    listed = [
        {"name": path.name, "masked": mask is not None, "version": f"{_changed(path)} {_changed(mask)}"}
        for path, mask in files
    ]
    return web.json_response({"photos": listed, "error": ""})


def photo_picture(query) -> web.Response:
    """A photo as a training sees it, small: cut to the square around its subject, faded outside the mask."""
    folder, name = query.get("folder", ""), query.get("name", "")
    for path, mask in photo_files(photo_folder(folder)):
        if path.name == name:
            return web.Response(
                body=_photo_picture(path, mask, *map(_changed, (path, mask))), content_type="image/jpeg"
            )
    return _refused(f"there is no photo {name!r} in {folder!r}", NOT_FOUND)


def _answering(answer: Callable[..., web.Response]):
    """The handler of a route; what is wrong with a request, or with a file, becomes a line for the user."""

    async def handle(request: web.Request) -> web.Response:
        try:
            return await asyncio.get_running_loop().run_in_executor(READER, answer, request.query)
        except (ValueError, OSError) as error:
            return _refused(str(error), BAD_REQUEST)

    return handle


def _refused(why: str, status: int) -> web.Response:
    return web.json_response({"error": why}, status=status)


def _token(file: str) -> IDToken | None:
    """None for a file that holds no ID token, and for a link to none."""
    try:
        path = model_path(EMBEDDINGS, file)
        return _read_token(path, _changed(path))
    except OSError:
        return None


@lru_cache(4 * CACHED)
def _read_token(path: Path, _version) -> IDToken | None:
    try:
        return load_id_token(path)
    except ValueError:
        return None


@lru_cache(CACHED)
def _photo_picture(path: Path, mask: Path | None, *_versions) -> bytes:
    photo = load_photo(path, mask)
    if photo.mask is not None and not photo.mask.any():
        raise ValueError(f"the mask of {path.name} is empty: draw the subject white in it, or take the mask away")
    content = BytesIO()
    to_pil(faded(cropped(photo, SIDE)).movedim(0, -1)).save(content, "JPEG", quality=85)
    return content.getvalue()


def _changed(path: Path | None) -> tuple[int, int] | None:
    """Another one whenever the file is."""
    return None if path is None else (path.stat().st_mtime_ns, path.stat().st_size)
