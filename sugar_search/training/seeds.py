"""Random numbers that depend on a key alone, for code that draws from the global generators of Python and numpy."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["reseed", "undisturbed"]


def reseed(*key: int | str) -> None:
    """Seeds the global generators of Python, numpy and torch's CPU from `key`, independently for different keys."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.default_generator.manual_seed(number)  # torch.manual_seed would seed every GPU too


@contextmanager
def undisturbed() -> Iterator[None]:
    """The three generators are after the block what they were before it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
