"""Clips as files."""

from .files import unfinished_file, write_video

__all__ = ["unfinished_file", "write_video"]
