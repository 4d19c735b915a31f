"""Max and average pooling, forward and backward.

Source: the USTH CNN, sections II.A.2 and II.B.2, after A. Kravets, "Forward and backward propagation of
pooling layers in convolutional neural networks", 2022.

Departures: any stride, also one that lets windows overlap (the source's windows lie side by side).
"""

from collections.abc import Iterator

from concord.plain.maps import Map, check, output_size


class Pooling:
    """Windows of ``size`` x ``size`` numbers, ``stride`` apart (side by side if it is left out)."""

    def __init__(self, shape: tuple[int, int, int], size: int, stride: int | None = None) -> None:
        self.shape, self.size, self.stride = shape, size, stride or size
        down, across = (output_size(side, size, self.stride) for side in shape[:2])
        self.output_shape = (down, across, shape[2])

    def windows(self, image: Map, i: int, c: int) -> Iterator[tuple[float, ...]]:
        """The W_out windows of output row i in channel c, each with its k * k numbers in reading order."""
        channels, across = self.output_shape[2], self.output_shape[1]
        rows = image[i * self.stride : i * self.stride + self.size]
        places = [row[v * channels + c :: self.stride * channels] for row in rows for v in range(self.size)]
        return zip(*(place[:across] for place in places), strict=True)


class MaxPooling(Pooling):
    """y[i, j, c] = max_{u, v} x[i s + u, j s + v, c]; of equal numbers the first in reading order wins.

    A number that is none (nan) may win or be passed over: nothing is larger than it, nor is it than anything.
    Backward, dy goes to the winner alone: dL/dx[winner of (i, j, c)] += dy[i, j, c].

    Shape: (H, W, C) -> (H_out, W_out, C), with H_out = floor(1 + (H - k) / s)
    """

    def forward(self, image: Map) -> Map:
        """The largest number of every window; ``winners`` remembers which of the k * k it was."""
        check(image, self.shape)
        across, channels = self.output_shape[1:]
        largest, self.winners = [], []
        for i in range(self.output_shape[0]):
            y, won = [0.0] * (across * channels), [0] * (across * channels)
            for c in range(channels):
                windows = list(self.windows(image, i, c))
                y[c::channels] = best = list(map(max, windows))
                won[c::channels] = map(tuple.index, windows, best)
            largest.append(y)
            self.winners.append(won)
        return largest

    def backward(self, dy: Map) -> Map:
        """Every dy at the place of its winner, zero elsewhere. Shape: (H_out, W_out, C) -> (H, W, C)"""
        height, width, channels = self.shape
        dx = [[0.0] * (width * channels) for _ in range(height)]
        for i, (slopes, won) in enumerate(zip(dy, self.winners, strict=True)):
            for place, (d, winner) in enumerate(zip(slopes, won, strict=True)):
                u, v = divmod(winner, self.size)
                j, c = divmod(place, channels)
                dx[i * self.stride + u][(j * self.stride + v) * channels + c] += d
        return dx


class AveragePooling(Pooling):
    """y[i, j, c] = 1 / k^2 sum_{u, v} x[i s + u, j s + v, c]; backward, all of a window get dy / k^2 each.

    Shape: (H, W, C) -> (H_out, W_out, C), with H_out = floor(1 + (H - k) / s)
    """

    def forward(self, image: Map) -> Map:
        """The mean of every window."""
        check(image, self.shape)
        across, channels = self.output_shape[1:]
        means = []
        for i in range(self.output_shape[0]):
            y = [0.0] * (across * channels)
            for c in range(channels):
                y[c::channels] = [sum(window) / self.size**2 for window in self.windows(image, i, c)]
            means.append(y)
        return means

    def backward(self, dy: Map) -> Map:
        """An equal share of dy at every place of its window. Shape: (H_out, W_out, C) -> (H, W, C)"""
        height, width, channels = self.shape
        dx = [[0.0] * (width * channels) for _ in range(height)]
        for i, slopes in enumerate(dy):
            for place, d in enumerate(slopes):
                j, c = divmod(place, channels)
                for row in dx[i * self.stride : i * self.stride + self.size]:
                    for column in range(j * self.stride, j * self.stride + self.size):
                        row[column * channels + c] += d / self.size**2
        return dx
