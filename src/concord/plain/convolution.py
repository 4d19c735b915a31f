"""Convolution of a picture with several filters, forward and backward.

Source: Nguyen Huy Hoang, "Convolutional Neural Network (CNN)" (the USTH CNN), sections II.A.1 and II.B.1,
after A. Kravets, "Forward and backward propagation in convolutional neural networks", 2022.

Departures from the source: padding, stride and any number of channels, which it describes and leaves out of
its program; the numbers under a filter (a patch) are one slice of a flat strip; its sum of products with a
filter, sum(map(mul, patch, w)), is taken by way of three lengths (`products`).
"""

from collections.abc import Sequence
from itertools import compress
from math import dist, hypot
from operator import mul
from random import Random

from concord.plain.maps import Map, check, cropped, output_size, padded
from concord.plain.vectors import Matrix, Vector, descend, he

Patch = tuple[float, ...]
SMALL = 1000.0  # of |p|^2 + |w|^2: rounding then costs less than 1e-12


class Convolution:
    """y[i, j, f] = b[f] + sum_{u, v, c} x[i s + u - p, j s + v - p, c] w[f][v, u, c], zero outside of x.

    ``weights`` has one flat list for each filter. Its numbers go column by column (v), in a column from top
    to bottom (u), at a position channel by channel (c): the order in which a strip of the picture is read.

    Shape: (H, W, C) -> (H_out, W_out, F), with H_out = floor(1 + (H + 2 p - k) / s)
    """

    def __init__(
        self, shape: tuple[int, int, int], filters: int, size: int, *, stride: int = 1, padding: int = 0
    ) -> None:
        height, width, channels = shape
        self.shape, self.size, self.stride, self.padding = shape, size, stride, padding
        down, across = (output_size(side, size, stride, padding) for side in (height, width))
        self.output_shape = (down, across, filters)
        step = stride * size * channels
        self.starts = range(0, across * step, step)
        self.weights: Matrix = [[0.0] * (size * size * channels) for _ in range(filters)]
        self.biases: Vector = [0.0] * filters

    def start(self, random: Random) -> None:
        """He's start: weights ~ N(0, 2 / (k k C)), biases 0."""
        self.weights = he(len(self.weights), len(self.weights[0]), random)
        self.biases = [0.0] * len(self.biases)

    def put(self, f: int, window: Map, bias: float) -> None:
        """Give filter f the weights of a window written as rows, as the source prints it."""
        check(window, (self.size, self.size, self.shape[2]))
        self.weights[f] = by_column(window, self.shape[2])
        self.biases[f] = bias

    def forward(self, image: Map) -> Map:
        """The sum of products of every window with every filter, and the filter's bias."""
        check(image, self.shape)
        self.strips = self._strips(padded(image, self.padding, self.shape[2]))
        filters, length = [tuple(w) for w in self.weights], len(self.weights[0])
        return [
            products([strip[start : start + length] for start in self.starts], filters, self.biases)
            for strip in self.strips
        ]

    def weight_gradient(self, dy: Map) -> None:
        """dL/dw[f] = sum_{i, j} dy[i, j, f] patch[i, j]  and  dL/db[f] = sum_{i, j} dy[i, j, f].

        Places where dy is 0 add nothing and are left out: behind max-pooling these are three of four.
        """
        filters, length = len(self.weights), len(self.weights[0])
        self.weights_slope, self.biases_slope = [], []
        for f in range(filters):
            d: Vector = []
            seen: Vector = []  # the patches under d, one after another
            for strip, row in zip(self.strips, dy, strict=True):
                slopes = row[f::filters]
                d += filter(None, slopes)
                for start in compress(self.starts, slopes):
                    seen += strip[start : start + length]
            columns = [tuple(seen[place::length]) for place in range(length)]
            self.weights_slope.append(products(columns, [tuple(d)], [0.0]))
            self.biases_slope.append(sum(d))

    def input_gradient(self, dy: Map) -> Map:
        """dL/dx[r, q, c] = the sum of dy[i, j, f] w[f][v, u, c] over all windows that hold that pixel.

        Shape: (H_out, W_out, F) -> (H, W, C)
        """
        height, width, channels = self.shape
        filters, p = len(self.weights), self.padding
        dx = [[0.0] * ((width + 2 * p) * channels) for _ in range(height + 2 * p)]
        columns = list(zip(*self.weights, strict=True))  # a place of the window in every filter
        for i, slopes in enumerate(dy):
            for j in range(self.output_shape[1]):
                here = slopes[j * filters : (j + 1) * filters]
                if any(here):
                    patch = [sum(map(mul, here, column)) for column in columns]
                    self._add(dx, i * self.stride, j * self.stride, patch)
        return cropped(dx, p, channels)

    def backward(self, dy: Map) -> Map:
        """Gradients of the weights, kept, and of the input, returned."""
        self.weight_gradient(dy)
        return self.input_gradient(dy)

    def descend(self, rate: float) -> None:
        """w <- w - rate dL/dw, b <- b - rate dL/db."""
        descend(self.weights, rate, self.weights_slope)
        descend([self.biases], rate, [self.biases_slope])

    def _strips(self, image: Map) -> list[Patch]:
        """For each row of the output the k rows under the filter, column after column.

        So every patch is one slice of a strip, from one of ``starts``. Shape: (H, W, C) -> (H_out, W * k * C)
        """
        channels, column = self.shape[2], self.size * self.shape[2]
        strips = []
        for top in range(0, self.output_shape[0] * self.stride, self.stride):
            strip = [0.0] * (len(image[0]) * self.size)
            for u, row in enumerate(image[top : top + self.size]):
                for c in range(channels):
                    strip[u * channels + c :: column] = row[c::channels]
            strips.append(tuple(strip))
        return strips

    def _add(self, dx: Map, top: int, left: int, patch: Vector) -> None:
        """Add the numbers of a patch to the places from which they were taken."""
        channels = self.shape[2]
        for place in range(0, len(patch), channels):
            v, u = divmod(place // channels, self.size)
            row, first = dx[top + u], (left + v) * channels
            for c in range(channels):
                row[first + c] += patch[place + c]


def by_column(window: Map, channels: int) -> Vector:
    """The numbers of a window, column after column. Shape: (k, k, C) -> (k * k * C,)"""
    columns = range(0, len(window[0]), channels)
    return [number for left in columns for row in window for number in row[left : left + channels]]


def by_row(numbers: Sequence[float], size: int, channels: int) -> Map:
    """The window back as rows, as a formula has it. Shape: (k * k * C,) -> (k, k, C)"""
    step = size * channels
    return [
        [x for left in range(u * channels, len(numbers), step) for x in numbers[left : left + channels]]
        for u in range(size)
    ]


def products(patches: Sequence[Patch], filters: Sequence[Patch], biases: Vector) -> Vector:
    """sum_k p_k w_k + b of every patch p with every filter (w, b).  Shape: P patches, F filters -> (P * F,)

    The sum of products is taken as (|p|^2 + |w|^2 - |p - w|^2) / 2, the law of cosines, because ``math.dist``
    and ``math.hypot`` run in C: three times faster than sum(map(mul, p, w)). Rounding costs at most a few
    1e-16 of |p|^2 + |w|^2, so that where this is large, as it is for pixels of 0 to 255, the sum is taken as
    it stands.
    """
    own = list(map(square, patches))
    ready = [(w, b, square(w)) for w, b in zip(filters, biases, strict=True)]
    if not max(own) + max(size for _, _, size in ready) < SMALL:
        return [sum(map(mul, patch, w), b) for patch in patches for w, b, _ in ready]
    return [
        (size + other - (far := dist(patch, w)) * far) / 2 + b
        for patch, size in zip(patches, own, strict=True)
        for w, b, other in ready
    ]


def square(p: Patch) -> float:
    """|p|^2 (not ``hypot(*p) ** 2``, which raises an error where a product gives infinity)."""
    length = hypot(*p)
    return length * length
