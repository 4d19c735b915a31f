"""The network of the USTH CNN: convolution, max-pooling, dense with ReLU, dense with softmax.

Departures from the source, whose program ended in NaN in its first epoch:
  * pictures come scaled to [0, 1] and centred, not as 0..255;
  * He's initialisation from ``random.Random(seed)`` in place of a generator of its own;
  * samples are drawn in a new order in every epoch, not class after class;
  * log-softmax with the maximum taken off, in place of a logarithm of clipped probabilities;
  * its summary says "14400 -> 12", which needs padding 1 (60 * 60 * 4); without padding it is 13,924 -> 12.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from random import Random

from concord.plain.convolution import Convolution
from concord.plain.dense import Dense, relu, relu_backward
from concord.plain.losses import cross_entropy, cross_entropy_slope
from concord.plain.maps import Map, flat, output_size, rows
from concord.plain.pooling import MaxPooling
from concord.plain.vectors import Vector

Sample = tuple[Map, int]  # a picture and the number of its class


@dataclass(frozen=True)
class Shape:
    """The sizes of the network, in the words of the source's configuration."""

    input_shape: tuple[int, int, int]  # h, w, c
    filter_size: int
    num_filters: int
    stride: int
    padding: int
    pooling_size: int
    output_size: int  # of the first dense layer
    num_classes: int

    def features(self) -> int:
        """Numbers that enter the first dense layer; ValueError where a window does not fit."""
        conv = (output_size(s, self.filter_size, self.stride, self.padding) for s in self.input_shape[:2])
        down, across = (output_size(side, self.pooling_size, self.pooling_size) for side in conv)
        return down * across * self.num_filters

    def parameters(self) -> int:
        """F (k k C + 1) + D (features + 1) + K (D + 1) weights and biases, D = output_size."""
        window = self.filter_size**2 * self.input_shape[2]
        dense = self.output_size * (self.features() + 1) + self.num_classes * (self.output_size + 1)
        return self.num_filters * (window + 1) + dense


class CNN:
    """logits = W2 relu(W1 flat(pool(x * w + b)) + b1) + b2.  Shape: (H, W, C) -> (K,)"""

    def __init__(self, shape: Shape, random: Random) -> None:
        self.conv = Convolution(
            shape.input_shape,
            shape.num_filters,
            shape.filter_size,
            stride=shape.stride,
            padding=shape.padding,
        )
        self.pool = MaxPooling(self.conv.output_shape, shape.pooling_size)
        self.dense1 = Dense(shape.features(), shape.output_size)
        self.dense2 = Dense(shape.output_size, shape.num_classes)
        for layer in (self.conv, self.dense1, self.dense2):
            layer.start(random)

    def forward(self, image: Map) -> Vector:
        """The logits of a picture; every layer keeps what its backward pass needs."""
        pooled = self.pool.forward(self.conv.forward(image))
        self.hidden = self.dense1.forward(flat(pooled))
        return self.dense2.forward(relu(self.hidden))

    def backward(self, dz: Vector) -> None:
        """Gradients of all weights from dL/dlogits. Nobody asks for the gradient of the picture."""
        dh = relu_backward(self.hidden, self.dense2.backward(dz))
        _, across, channels = self.pool.output_shape
        dy = self.pool.backward(rows(self.dense1.backward(dh), across * channels))
        self.conv.weight_gradient(dy)

    def descend(self, rate: float) -> None:
        """One step of gradient descent: w <- w - rate dL/dw."""
        for layer in (self.conv, self.dense1, self.dense2):
            layer.descend(rate)


@dataclass(frozen=True)
class Step:
    """What one sample did: its loss and whether it was right, both before the update."""

    epoch: int  # from 1
    step: int  # from 1
    sample: int
    loss: float
    correct: bool


def train(
    network: CNN, samples: Sequence[Sample], *, epochs: int, rate: float, random: Random
) -> Iterator[Step]:
    """Gradient descent on one sample after another, shuffled anew in every epoch; yields one Step per update.

    Raises ArithmeticError, before the update, when a loss is not finite.
    """
    for epoch in range(1, epochs + 1):
        order = random.sample(range(len(samples)), len(samples))
        for step, n in enumerate(order, 1):
            image, label = samples[n]
            logits = network.forward(image)
            loss = cross_entropy(logits, label)
            if not isfinite(loss):
                raise ArithmeticError(
                    f"epoch {epoch}, step {step}: the loss is {loss}; a smaller learning rate helps"
                )
            network.backward(cross_entropy_slope(logits, label))
            network.descend(rate)
            yield Step(epoch, step, n, loss, predicted(logits) == label)


def predicted(logits: Vector) -> int:
    """The class with the largest logit."""
    return logits.index(max(logits))
