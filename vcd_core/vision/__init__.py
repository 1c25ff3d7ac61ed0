"""Finding things in pictures.

faces         Face and FaceDetector: what every face detector gives
drawn_faces   the demo world's own detector
"""

from .drawn_faces import DrawnFaceDetector
from .faces import Face, FaceDetector

__all__ = ["DrawnFaceDetector", "Face", "FaceDetector"]
