"""The ID module: a few token vectors that carry one subject, and how they are learned from photos."""

from .augmentation import Augmentation, Views, draw_views
from .checkpoint import SAVE_EVERY, fingerprint, load_training, save_training, training_file, weights_sample
from .denoising_task import context_loss, masked_loss
from .monitor import noun_noise, sample_latents
from .photos import Photo, around_subject, cropped, faded, load_photo, load_photos, usable_photos
from .recipe import RARE_WORDS, Recipe, TrainingPlan, encode_examples, plan_training
from .segmentation import SegmentedPhoto, segment_photos
from .thumbnails import make_thumbnail, open_thumbnail, save_token_sheet
from .token import SD15_WIDTH, IDToken, check_token_name, save_id_token
from .token_folder import find_id_token, id_tokens_in, save_or_reuse_id_token, save_partial_id_token
from .token_formats import TOKEN_SUFFIXES, convert_id_token, load_id_token
from .token_mixing import MOST_STRENGTH, mix_id_tokens, with_strength
from .training import initial_vectors, train_id_token
from .training_port import PLACEHOLDER, TextConditionedDenoiser, subject_prompt
from .training_state import Examples, TrainingDiverged, TrainingOptions, TrainingState

__all__ = [
    "MOST_STRENGTH",
    "PLACEHOLDER",
    "RARE_WORDS",
    "SAVE_EVERY",
    "SD15_WIDTH",
    "TOKEN_SUFFIXES",
    "Augmentation",
    "Examples",
    "IDToken",
    "Photo",
    "Recipe",
    "SegmentedPhoto",
    "TextConditionedDenoiser",
    "TrainingDiverged",
    "TrainingOptions",
    "TrainingPlan",
    "TrainingState",
    "Views",
    "around_subject",
    "check_token_name",
    "context_loss",
    "convert_id_token",
    "cropped",
    "draw_views",
    "faded",
    "find_id_token",
    "encode_examples",
    "fingerprint",
    "id_tokens_in",
    "initial_vectors",
    "load_id_token",
    "load_photo",
    "load_photos",
    "load_training",
    "make_thumbnail",
    "masked_loss",
    "mix_id_tokens",
    "noun_noise",
    "open_thumbnail",
    "plan_training",
    "sample_latents",
    "save_id_token",
    "save_or_reuse_id_token",
    "save_partial_id_token",
    "save_token_sheet",
    "save_training",
    "segment_photos",
    "subject_prompt",
    "train_id_token",
    "training_file",
    "usable_photos",
    "weights_sample",
    "with_strength",
]
