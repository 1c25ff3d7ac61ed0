"""Video files in and out."""

from .files import (
    CONTAINERS,
    VideoInfo,
    check_not_itself,
    check_whole,
    convert_video,
    copy_video,
    probe_video,
    read_video,
    write_video,
)

__all__ = [
    "CONTAINERS",
    "VideoInfo",
    "check_not_itself",
    "check_whole",
    "convert_video",
    "copy_video",
    "probe_video",
    "read_video",
    "write_video",
]
