"""Face VCD: the faces of a clip, each followed through it and drawn anew.

tracks      which faces of single frames are the same one; cuts end them
choice      which of them are meant
crops       the square that follows a face, how it is cut out and put back
planning    from a clip to the faces that are meant
refinement  faces drawn anew while a clip streams through, by any `refine`
colour      made to suit what is around them
"""

from .choice import ALL, ORDERS, choose_tracks, name_of, reference_embedding
from .crops import CropOptions, CropPath, cut_out, mask_in_crop, mask_in_frame, plan_crop, put_back
from .cuts import CutFinder
from .planning import FaceChoice, FacePlan, FoundFaces, InOrder, find_faces, plan_faces
from .refinement import FaceJob, Refine, RefinedFrame, RefineOptions, refine_faces, window_count
from .smoothing import smoothed
from .tracks import Track, TrackOptions, track_faces

__all__ = [
    "ALL",
    "ORDERS",
    "CropOptions",
    "CropPath",
    "CutFinder",
    "FaceChoice",
    "FaceJob",
    "FacePlan",
    "FoundFaces",
    "InOrder",
    "Refine",
    "RefineOptions",
    "RefinedFrame",
    "Track",
    "TrackOptions",
    "choose_tracks",
    "cut_out",
    "find_faces",
    "mask_in_crop",
    "mask_in_frame",
    "name_of",
    "plan_crop",
    "plan_faces",
    "put_back",
    "reference_embedding",
    "refine_faces",
    "smoothed",
    "track_faces",
    "window_count",
]
