"""Finding things in pictures.

faces           Face and FaceDetector: what every face detector gives
centerface      a face detector whose file comes with a package
yunet           OpenCV's own, from a user's file
insight_faces   insightface's, which also tells one person from another
named_faces     whatever words name, in the place of faces
given_faces     boxes or masks that somebody else has found
drawn_faces     the demo world's own detector
working_size    detectors that look at pictures of another size
opencv          OpenCV, imported where it is used
segmentation    what a prompt names, cut out of its background
grounding_dino  the boxes of what words name
sam             the mask of what fills a box
preview         pictures of what was found
"""

from . import centerface, insight_faces, named_faces, yunet
from .centerface import load_centerface, packaged_centerface
from .drawn_faces import DrawnFaceDetector
from .faces import Face, FaceDetector
from .given_faces import GivenBoxes, GivenMasks
from .grounding_dino import GroundingDino, load_grounding_dino
from .insight_faces import InsightFaces, load_insight_faces
from .named_faces import NamedFaces, check_words
from .preview import draw_findings
from .sam import Sam, load_sam
from .segmentation import CHOICES, Finding, NoSubject, PromptSegmenter, Segmentation, Segmenter, SeveralSubjects
from .working_size import AtWorkingSize
from .yunet import load_yunet

LICENCES = {
    "centerface": centerface.LICENCE,
    "yunet": yunet.LICENCE,
    "insightface": insight_faces.LICENCE,
    "words": named_faces.LICENCE,
}
"""A sentence for the user about the models of each kind of face detector."""

__all__ = [
    "CHOICES",
    "LICENCES",
    "AtWorkingSize",
    "DrawnFaceDetector",
    "Face",
    "FaceDetector",
    "Finding",
    "GivenBoxes",
    "GivenMasks",
    "GroundingDino",
    "InsightFaces",
    "NamedFaces",
    "NoSubject",
    "PromptSegmenter",
    "Sam",
    "Segmentation",
    "Segmenter",
    "SeveralSubjects",
    "check_words",
    "draw_findings",
    "load_centerface",
    "load_grounding_dino",
    "load_insight_faces",
    "load_sam",
    "load_yunet",
    "packaged_centerface",
]
