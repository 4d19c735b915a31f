"""Random bits by number: bit pattern i of a key can be had without those before it.

Source: G. L. Steele, D. Lea, C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014,
section 4 (SplitMix64 with the constants of the authors' Java implementation).

Batches, splits, augmentation and noise draw from here and from no generator that remembers: what a
sample gets is a function of its key and its number, on every machine and in every version of the libraries.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def seed_of(*key: str | int) -> int:
    """64 bits of the SHA-256 of the key, for example ``seed_of("order", seed, epoch)``."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little")


def splitmix64(seed: int, index: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Output number ``index`` (from 0) of SplitMix64 started at ``seed``, all arithmetic modulo 2^64."""
    z = (index.astype(np.uint64) + np.uint64(1)) * GOLDEN + np.array(seed, np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(index: NDArray[np.integer], *key: str | int) -> NDArray[np.uint64]:
    """64 random bits for each number in ``index``. Shape: (N,) -> (N,) uint64"""
    return splitmix64(seed_of(*key), index)


def uniform(index: NDArray[np.integer], *key: str | int) -> NDArray[np.float64]:
    """The upper 53 of these bits as a number of [0, 1). Shape: (N,) -> (N,) float64"""
    return (bits(index, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(n: int, *key: str | int) -> NDArray[np.int64]:
    """The numbers 0..n-1 in the order of their random bits. Shape: (n,) int64"""
    return np.argsort(bits(np.arange(n), *key), kind="stable")
