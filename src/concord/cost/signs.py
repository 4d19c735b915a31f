"""Weights that are signs: the bits that they take, and what the paper predicts of a layer of them.

Source: M. Rastegari, V. Ordonez, J. Redmon, A. Farhadi, "XNOR-Net", 2016, arXiv:1603.05279, section 4.1. The
speed takes one operation on 64 bits to be as fast as one multiply-accumulate: that holds for a processor that
computes one float at a time. It is a count of operations and not a time.
"""

from typing import NamedTuple

FLOAT, WORD = 32, 64  # bits


class Signs(NamedTuple):
    """The binary weights of a layer; n = c N_W is the number of them that one filter has."""

    each: int  # n: input channels of a group times the area of the kernel
    filters: int
    scales: int  # floats alpha beside them
    products: int  # of signs and signs in one call, 0 where the inputs are real

    @property
    def weights(self) -> int:
        """n N."""
        return self.each * self.filters

    @property
    def memory_ratio(self) -> float:
        """Bits of float weights over bits of signs and scales: 32 n / (n + 32) with a scale per filter."""
        return FLOAT * self.weights / (self.weights + FLOAT * self.scales)

    @property
    def predicted_speed(self) -> float | None:
        """S = 64 c N_W / (c N_W + 64); None where the inputs are real, so that sums stay sums of floats."""
        return WORD * self.each / (self.each + WORD) if self.products else None

    def bits(self, parameters: int) -> int:
        """Of all parameters of the layer: 1 for each sign, 32 for each scale and each of the others.

        Where another layer has counted the weights, the parameters here are floats.
        """
        if parameters < self.weights:
            return FLOAT * parameters
        return self.weights + FLOAT * (self.scales + parameters - self.weights)
