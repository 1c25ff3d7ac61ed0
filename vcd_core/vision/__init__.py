"""Finding things in pictures.

faces           Face and FaceDetector: what every face detector gives
drawn_faces     the demo world's own detector
segmentation    what a prompt names, cut out of its background
grounding_dino  the boxes of what words name
sam             the mask of what fills a box
preview         pictures of what was found
"""

from .drawn_faces import DrawnFaceDetector
from .faces import Face, FaceDetector
from .grounding_dino import GroundingDino, load_grounding_dino
from .preview import draw_findings
from .sam import Sam, load_sam
from .segmentation import CHOICES, Finding, NoSubject, PromptSegmenter, Segmentation, Segmenter, SeveralSubjects

__all__ = [
    "CHOICES",
    "DrawnFaceDetector",
    "Face",
    "FaceDetector",
    "Finding",
    "GroundingDino",
    "NoSubject",
    "PromptSegmenter",
    "Sam",
    "Segmentation",
    "Segmenter",
    "SeveralSubjects",
    "draw_findings",
    "load_grounding_dino",
    "load_sam",
]
