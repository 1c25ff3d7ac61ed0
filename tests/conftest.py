import pytest
import torch


@pytest.fixture
def rng() -> torch.Generator:
    """Randomness that is the same in every run."""
    return torch.Generator().manual_seed(0)
