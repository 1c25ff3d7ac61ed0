"""Words of messages."""


def counted(number: int, noun: str) -> str:
    """1 frame, 2 frames, 1,600 frames: no other plurals."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
