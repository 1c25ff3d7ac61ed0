"""Video files in and out."""

from .files import VideoInfo, convert_video, probe_video, read_video, write_video

__all__ = ["VideoInfo", "convert_video", "probe_video", "read_video", "write_video"]
