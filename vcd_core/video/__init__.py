"""Clips as files."""

from .files import write_video

__all__ = ["write_video"]
