"""Whether a clip of a size can be made at all, asked before anything is."""

BYTES_A_PIXEL = 3 * 4  # RGB, float32
SMALLEST = 32  # pixels a side; below, a UNet that halves three times behind the VAE sees one or two latents


def check_large_enough(height: int, width: int) -> None:
    """Raises ValueError for a picture too small to be drawn anew."""
    if min(height, width) < SMALLEST:
        raise ValueError(
            f"a picture of {width}x{height} is too small to be drawn anew: enlarge it to {SMALLEST} pixels a side"
        )


def check_clip_fits(
    frames: int, height: int, width: int, free: int, copies: float = 1.5, shorter: str = "a shorter clip,"
) -> None:
    """Asks for room for a clip of this size.

    Args:
        free: bytes.
        copies: how often the whole clip is held at most.
        shorter: what to say that the user may give in place of a clip of so many frames.

    Raises:
        ValueError: it does not fit; how much is missing, and what does.
    """
    needed = copies * frames * height * width * BYTES_A_PIXEL
    if needed <= free:
        return
    fitting = int(free / (copies * height * width * BYTES_A_PIXEL))
    factor = (free / needed) ** 0.5
    gigabyte = 2**30
    what = f"{shorter} of at most {fitting} frames" if fitting else "a smaller picture"
    raise ValueError(
        f"{frames} frames of {width}x{height} need {needed / gigabyte:.1f} GB of memory and {free / gigabyte:.1f} GB "
        f"are free: give {what}, or make it no larger than "
        f"{int(width * factor)}x{int(height * factor)}"
    )
