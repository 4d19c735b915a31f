"""One training step of the USTH CNN's network beside loops as the source writes them."""

import platform
import statistics
import time
from random import Random
from typing import Any

from concord.plain.cnn import CNN, Shape
from concord.plain.losses import cross_entropy_slope, softmax
from concord.plain.maps import Map

SOURCE = Shape((120, 120, 3), 3, 4, 1, 0, 2, 12, 3)
RATE = 0.003
Nested = list[Any]  # lists in lists, as deep as the array has axes


def bench_plain(rounds: int = 5) -> dict[str, Any]:
    """Processor seconds of one training step, and how many times faster ``plain`` is than naive loops.

    All start from the same weights and the same picture and take turns. The naive loops are timed twice: with
    the gradient of the picture, which the formulas of the source include, and without, since nobody needs it.
    ``largest_difference`` compares the weights afterwards.
    """
    taken: dict[str, list[float]] = {"plain": [], "naive": [], "naive_weights_only": []}
    difference = 0.0
    for n in range(rounds):
        picture = _picture(Random(n))
        ours, whole, less = (CNN(SOURCE, Random(n)) for _ in range(3))
        taken["plain"].append(_second(_step, ours, picture))
        taken["naive"].append(_second(naive_step, whole, picture, True))
        taken["naive_weights_only"].append(_second(naive_step, less, picture, False))
        difference = max(difference, _difference(ours, whole), _difference(ours, less))
    return {
        "python": platform.python_version(),
        "rounds": rounds,
        "seconds": {name: statistics.median(times) for name, times in taken.items()},
        "times_faster": _ratio(taken["naive"], taken["plain"]),
        "times_faster_weights_only": _ratio(taken["naive_weights_only"], taken["plain"]),
        "largest_difference": difference,
    }


def _picture(random: Random) -> Map:
    height, width, channels = SOURCE.input_shape
    return [[random.random() - 0.5 for _ in range(width * channels)] for _ in range(height)]


def _second(step: Any, *given: Any) -> float:
    """Processor seconds of the second step: in the first, Python still asks the system for memory."""
    step(*given)
    began = time.process_time()
    step(*given)
    return time.process_time() - began


def _ratio(slow: list[float], fast: list[float]) -> float:
    """Median of the ratios within each round: machines are noisy, rounds are short."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def _difference(a: CNN, b: CNN) -> float:
    return max(abs(v - w) for v, w in zip(_weights(a), _weights(b), strict=True))


def _weights(network: CNN) -> list[float]:
    layers: tuple[Any, ...] = (network.conv, network.dense1, network.dense2)
    return [w for layer in layers for row in (*layer.weights, layer.biases) for w in row]


def _step(network: CNN, picture: Map) -> None:
    network.backward(cross_entropy_slope(network.forward(picture), 1))
    network.descend(RATE)


def naive_step(network: CNN, picture: Map, with_picture: bool) -> None:
    """The same step with loops over lists, as the USTH CNN has it: one loop for every index of a formula."""
    _, width, channels = SOURCE.input_shape
    size, filters = SOURCE.filter_size, SOURCE.num_filters
    x = [[[[row[j * channels + c] for c in range(channels)] for j in range(width)] for row in picture]]
    w = [
        [
            [[flat[(v * size + u) * channels + c] for c in range(channels)] for v in range(size)]
            for u in range(size)
        ]
        for flat in network.conv.weights
    ]
    y = naive_convolution(x, w, network.conv.biases)
    pooled, winners = naive_pooling(y[0])
    features = [value for row in pooled for position in row for value in position]
    hidden = naive_dense(features, network.dense1.weights, network.dense1.biases)
    active = [max(0.0, value) for value in hidden]
    z = naive_dense(active, network.dense2.weights, network.dense2.biases)
    dz = [p - (k == 1) for k, p in enumerate(softmax(z))]
    dh = naive_dense_backward(active, network.dense2, dz)
    dh = [d if value > 0 else 0.0 for d, value in zip(dh, hidden, strict=True)]
    df = naive_dense_backward(features, network.dense1, dh)
    dy = naive_pooling_backward(df, winners, len(y[0]), len(y[0][0]))
    dw, db = naive_weight_gradient(x, dy, filters, size)
    if with_picture:
        naive_picture_gradient(x, dy, w)
    for f in range(filters):
        network.conv.biases[f] -= RATE * db[f]
        for u in range(size):
            for v in range(size):
                for c in range(channels):
                    network.conv.weights[f][(v * size + u) * channels + c] -= RATE * dw[f][u][v][c]


def naive_convolution(x: Nested, w: Nested, b: list[float]) -> Nested:
    """y[n][i][j][f] = b[f] + sum over u, v, c: seven nested loops."""
    size, channels = len(w[0]), len(x[0][0][0])
    height, width = len(x[0]) - size + 1, len(x[0][0]) - size + 1
    y = [[[list(b) for _ in range(width)] for _ in range(height)] for _ in x]
    for n in range(len(x)):
        for f in range(len(w)):
            for i in range(height):
                for j in range(width):
                    for u in range(size):
                        for v in range(size):
                            for c in range(channels):
                                y[n][i][j][f] += x[n][i + u][j + v][c] * w[f][u][v][c]
    return y


def naive_weight_gradient(x: Nested, dy: Nested, filters: int, size: int) -> tuple[Nested, list[float]]:
    """dw[f][u][v][c] = sum over n, i, j of dy[n][i][j][f] x[n][i + u][j + v][c]: the same seven loops."""
    channels = len(x[0][0][0])
    dw = [[[[0.0] * channels for _ in range(size)] for _ in range(size)] for _ in range(filters)]
    db = [0.0] * filters
    for n in range(len(x)):
        for f in range(filters):
            for i in range(len(dy[n])):
                for j in range(len(dy[n][0])):
                    db[f] += dy[n][i][j][f]
                    for u in range(size):
                        for v in range(size):
                            for c in range(channels):
                                dw[f][u][v][c] += dy[n][i][j][f] * x[n][i + u][j + v][c]
    return dw, db


def naive_picture_gradient(x: Nested, dy: Nested, w: Nested) -> Nested:
    """dx[n][i + u][j + v][c] += dy[n][i][j][f] w[f][u][v][c]: the same seven loops."""
    size, channels = len(w[0]), len(x[0][0][0])
    dx = [[[[0.0] * channels for _ in row] for row in image] for image in x]
    for n in range(len(x)):
        for f in range(len(w)):
            for i in range(len(dy[n])):
                for j in range(len(dy[n][0])):
                    for u in range(size):
                        for v in range(size):
                            for c in range(channels):
                                dx[n][i + u][j + v][c] += dy[n][i][j][f] * w[f][u][v][c]
    return dx


def naive_pooling(y: Nested) -> tuple[Nested, list[tuple[int, int, int]]]:
    """The largest of every 2 x 2 window, and where it was."""
    size, filters = SOURCE.pooling_size, len(y[0][0])
    pooled: Nested = []
    winners = []
    for i in range(len(y) // size):
        pooled.append([])
        for j in range(len(y[0]) // size):
            pooled[i].append([])
            for f in range(filters):
                best, place = y[i * size][j * size][f], (i * size, j * size, f)
                for u in range(size):
                    for v in range(size):
                        if y[i * size + u][j * size + v][f] > best:
                            best, place = y[i * size + u][j * size + v][f], (i * size + u, j * size + v, f)
                pooled[i][j].append(best)
                winners.append(place)
    return pooled, winners


def naive_pooling_backward(
    df: list[float], winners: list[tuple[int, int, int]], height: int, width: int
) -> Nested:
    dy = [[[[0.0] * SOURCE.num_filters for _ in range(width)] for _ in range(height)]]
    for d, (i, j, f) in zip(df, winners, strict=True):
        dy[0][i][j][f] = d
    return dy


def naive_dense(x: list[float], w: Nested, b: list[float]) -> list[float]:
    y = list(b)
    for k in range(len(w)):
        for d in range(len(x)):
            y[k] += w[k][d] * x[d]
    return y


def naive_dense_backward(x: list[float], layer: Any, dy: list[float]) -> list[float]:
    """dx, and the update of the layer."""
    dx = [0.0] * len(x)
    for k in range(len(dy)):
        for d in range(len(x)):
            dx[d] += layer.weights[k][d] * dy[k]
            layer.weights[k][d] -= RATE * dy[k] * x[d]
        layer.biases[k] -= RATE * dy[k]
    return dx
