import socket

import pytest
import torch
from narrow_model import NARROW
from random_pipeline import random_model, random_motion_module


@pytest.fixture(scope="module")
def one_thread():
    """Models of a few channels are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def model():
    """A StableDiffusion of random weights, which tests leave as it is."""
    return random_model(0, NARROW)


@pytest.fixture(scope="session")
def motion():
    """A motion module for it."""
    return random_motion_module(0, NARROW)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
