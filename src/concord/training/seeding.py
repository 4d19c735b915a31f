"""Random numbers as a function of a seed and an index, so that no generator has a state worth saving."""

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def purpose_seed(*parts: object) -> int:
    """A 63-bit seed for a purpose, for example purpose_seed(0, "start", "st").

    The data room has a hash of its own (``data.draws.seed_of``) for what concerns samples alone, so that this
    room and that one need not know each other; the two give different numbers for equal keys.
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def mix(seed: int, index: int) -> int:
    """A seed for one update, spread over 63 bits: output ``index`` of SplitMix64, without its last bit.

    Source: G. Steele et al., 2014; ``data.draws.splitmix64`` is the same for many numbers at once.
    """
    z = (seed + (index + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (z ^ z >> 31) >> 1


def drawn() -> object:
    """Where the generators of numpy and Python are: equal before and after code that draws from neither."""
    kind, state, *place = np.random.get_state()  # noqa: NPY002
    return random.getstate(), kind, bytes(np.asarray(state)), place


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Run with the generators of torch, numpy and Python at this seed; they are as before afterwards.

    Of torch these are the device's and the CPU's. A member may draw from any of them. None changes nothing.
    """
    if seed is None:
        yield
        return
    with _torch_at(seed, device), _numpy_at(seed), _python_at(seed):
        yield


@contextmanager
def _torch_at(seed: int, device: torch.device) -> Iterator[None]:
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda, device_type="cuda"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach every other device too
        for used in cuda:
            with torch.cuda.device(used):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _numpy_at(seed: int) -> Iterator[None]:
    # numpy's global generator is a legacy, and what code outside concord draws from
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _python_at(seed: int) -> Iterator[None]:
    before = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(before)
