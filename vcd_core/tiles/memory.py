"""Whether a large clip fits into memory, asked before anything is made."""

BYTES_A_PIXEL = 3 * 4  # RGB, float32


def check_clip_fits(frames: int, height: int, width: int, free: int, copies: float = 1.5) -> None:
    """Asks for room for a clip of this size.

    Args:
        free: bytes.
        copies: how often the whole clip is held at most.

    Raises:
        ValueError: it does not fit; how much is missing, and what does.
    """
    needed = copies * frames * height * width * BYTES_A_PIXEL
    if needed <= free:
        return
    fitting = int(free / (copies * height * width * BYTES_A_PIXEL))
    factor = (free / needed) ** 0.5
    gigabyte = 2**30
    what = f"a shorter clip, of at most {fitting} frames" if fitting else "a smaller picture"
    raise ValueError(
        f"{frames} frames of {width}x{height} need {needed / gigabyte:.1f} GB of memory and {free / gigabyte:.1f} GB "
        f"are free: give {what}, or enlarge it to {int(width * factor)}x{int(height * factor)}"
    )
