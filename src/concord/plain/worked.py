"""One training step of a tiny network, every number of it.

A 5x5 picture and a 3x3 filter with padding 1, as in the USTH CNN; then 2x2 max-pooling, a dense layer with
ReLU and one with softmax. Every number is what the layers beside this file compute.
"""

from random import Random
from typing import Any

from concord.plain.cnn import CNN, Shape
from concord.plain.convolution import by_row
from concord.plain.dense import relu, relu_backward
from concord.plain.losses import cross_entropy, cross_entropy_slope, softmax
from concord.plain.maps import Map, flat, padded, rows
from concord.plain.vectors import Vector

PICTURE: Map = [[1.0, 2, 0, 1, 3], [0, 1, 4, 2, 1], [2, 3, 1, 0, 2], [1, 0, 2, 3, 1], [3, 1, 0, 2, 4]]
FILTER: Map = [[1.0, 0, -1], [2, 1, 0], [0, -1, 1]]
BIAS = 1.0
DENSE1 = [[0.1, 0.0, -0.1, 0.2], [0.0, -0.2, 0.1, -0.1]], [0.1, 0.0]
DENSE2 = [[0.5, -0.5], [-1.0, 0.5]], [0.0, 0.1]
LABEL, RATE = 1, 0.1
SHAPE = Shape((5, 5, 1), 3, 1, 1, 1, 2, 2, 2)


def example() -> CNN:
    """The network of the example before its step."""
    network = CNN(SHAPE, Random(0))
    network.conv.put(0, FILTER, BIAS)
    network.dense1.weights, network.dense1.biases = [list(row) for row in DENSE1[0]], list(DENSE1[1])
    network.dense2.weights, network.dense2.biases = [list(row) for row in DENSE2[0]], list(DENSE2[1])
    return network


def plain_show() -> dict[str, Any]:
    """Every number of one step on the example: forward, backward, and the weights afterwards."""
    network = example()
    step = _forward_numbers(network) | {"winners": _winners(network), "rate": RATE}
    step |= _backward_numbers(network, step["a"], step["dz"])
    network.descend(RATE)
    again = _forward_numbers(network)
    return step | {"after": _weights(network) | {key: again[key] for key in ("pooled", "h", "z", "loss")}}


def _forward_numbers(network: CNN) -> dict[str, Any]:
    """What every layer says of the picture, the loss, and its slope by the logits."""
    y = network.conv.forward(PICTURE)
    pooled = network.pool.forward(y)
    a = network.dense1.forward(flat(pooled))
    h = relu(a)
    z = network.dense2.forward(h)
    return {
        "picture": PICTURE,
        "padded": padded(PICTURE, 1, 1),
        "filter": by_row(network.conv.weights[0], 3, 1),
        "bias": network.conv.biases[0],
        "y": y,
        "pooled": pooled,
        "a": a,
        "h": h,
        "z": z,
        "p": softmax(z),
        "label": LABEL,
        "loss": cross_entropy(z, LABEL),
        "dz": cross_entropy_slope(z, LABEL),
    }


def _backward_numbers(network: CNN, a: Vector, dz: Vector) -> dict[str, Any]:
    """The slopes of the loss by everything, from the logits back to the picture."""
    dh = network.dense2.backward(dz)
    da = relu_backward(a, dh)
    dpooled = rows(network.dense1.backward(da), 2)
    dy = network.pool.backward(dpooled)
    dpicture = network.conv.backward(dy)
    return {
        "dw2": network.dense2.weights_slope,
        "db2": network.dense2.biases_slope,
        "dh": dh,
        "da": da,
        "dw1": network.dense1.weights_slope,
        "db1": network.dense1.biases_slope,
        "dpooled": dpooled,
        "dy": dy,
        "dfilter": by_row(network.conv.weights_slope[0], 3, 1),
        "dbias": network.conv.biases_slope[0],
        "dpicture": dpicture,
    }


def _weights(network: CNN) -> dict[str, Any]:
    return {
        "filter": by_row(network.conv.weights[0], 3, 1),
        "bias": network.conv.biases[0],
        "w1": network.dense1.weights,
        "b1": network.dense1.biases,
        "w2": network.dense2.weights,
        "b2": network.dense2.biases,
    }


def _winners(network: CNN) -> list[list[str]]:
    """The name of the number that each window kept: y12 is row 1, column 2."""
    size = network.pool.size
    return [
        [f"y{i * size + won // size + 1}{j * size + won % size + 1}" for j, won in enumerate(line)]
        for i, line in enumerate(network.pool.winners)
    ]
