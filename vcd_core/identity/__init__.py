"""The ID module: a few token vectors that carry one subject, and how they are learned from photos."""

from .photos import Photo, load_photos, training_images
from .segmentation import SegmentedPhoto, segment_photos
from .token import IDToken, check_token_name, load_id_token, save_id_token, save_partial_id_token
from .training import (
    PLACEHOLDER,
    TextConditionedDenoiser,
    TrainingDiverged,
    TrainingOptions,
    TrainingStep,
    initial_vectors,
    masked_loss,
    train_id_token,
    training_prompts,
)

__all__ = [
    "PLACEHOLDER",
    "IDToken",
    "Photo",
    "SegmentedPhoto",
    "TextConditionedDenoiser",
    "TrainingDiverged",
    "TrainingOptions",
    "TrainingStep",
    "check_token_name",
    "initial_vectors",
    "load_id_token",
    "load_photos",
    "masked_loss",
    "save_id_token",
    "save_partial_id_token",
    "segment_photos",
    "train_id_token",
    "training_images",
    "training_prompts",
]
