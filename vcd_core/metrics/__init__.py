"""How good a clip is: like its subject, like its prompt, steady, and moving.

similarity      scores of features: references, text, neighbouring frames, backgrounds
movement        scores of optical flow: motion, flicker, steadiness
enlargement     seams and flicker of what was enlarged in tiles
intervals       how sure a mean is
embedders       the port to what makes features, and faces
clip_and_dino   CLIP and DINO
backgrounds     a picture without its subject
evaluation      all scores of a clip
report          scores as text and as JSON
"""

from .clip_and_dino import ClipEmbedder, DinoEmbedder, load_clip, load_dino
from .embedders import Embedder, FaceEmbedder, TextEmbedder
from .enlargement import flicker_of_detail, seams
from .evaluation import Evaluator
from .intervals import RESAMPLINGS, interval_95, resampled_means
from .movement import FLOW, likeness_of_neighbours, motion_and_flicker, steadiness
from .report import ClipScores, Score, as_json, as_text
from .similarity import leakage, neighbour_similarity, pair_similarity, reference_similarity, text_similarity

__all__ = [
    "FLOW",
    "RESAMPLINGS",
    "ClipEmbedder",
    "ClipScores",
    "DinoEmbedder",
    "Embedder",
    "Evaluator",
    "FaceEmbedder",
    "Score",
    "TextEmbedder",
    "as_json",
    "as_text",
    "flicker_of_detail",
    "interval_95",
    "leakage",
    "likeness_of_neighbours",
    "load_clip",
    "load_dino",
    "motion_and_flicker",
    "neighbour_similarity",
    "pair_similarity",
    "reference_similarity",
    "resampled_means",
    "seams",
    "steadiness",
    "text_similarity",
]
