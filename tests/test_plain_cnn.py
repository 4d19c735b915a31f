"""The network of the USTH CNN: against torch, learning, and its failure reproduced."""

import math
from random import Random

import pytest
import torch
import torch.nn.functional as F
from plain_made import as_map, give, scaled, stripes

from concord.plain.cnn import CNN, Shape, predicted, train
from concord.plain.losses import cross_entropy, cross_entropy_slope, softmax
from concord.plain.maps import flat

SMALL = Shape((12, 10, 3), 3, 2, 1, 0, 2, 5, 3)
SOURCE = Shape((120, 120, 3), 3, 4, 1, 0, 2, 12, 3)


def torch_loss(network, image, label):
    """The same network in torch, and its weights as leaves."""
    w = torch.empty(2, 3, 3, 3, dtype=torch.float64)
    w.normal_(generator=torch.Generator().manual_seed(0))
    give(network.conv, w, torch.tensor(network.conv.biases))
    leaves = [w, *(torch.tensor(t, dtype=torch.float64) for t in (
        network.conv.biases, network.dense1.weights, network.dense1.biases, network.dense2.weights,
        network.dense2.biases))]  # fmt: skip
    for leaf in leaves:
        leaf.requires_grad_()
    w, b, w1, b1, w2, b2 = leaves
    pooled = F.max_pool2d(F.conv2d(image[None], w, b), 2)[0]
    x = pooled.permute(1, 2, 0).flatten()  # plain flattens position by position
    z = F.linear(F.linear(x, w1, b1).relu(), w2, b2)
    return F.cross_entropy(z[None], torch.tensor([label])), leaves


def test_loss_and_the_gradient_of_every_weight_equal_torch():
    torch.manual_seed(1)
    image = torch.randn(3, 12, 10, dtype=torch.float64)
    network = CNN(SMALL, Random(3))
    network.conv.biases = [0.3, -0.2]
    loss, (w, b, w1, b1, w2, b2) = torch_loss(network, image, 2)
    loss.backward()
    z = network.forward(as_map(image))
    assert cross_entropy(z, 2) == pytest.approx(loss.item(), abs=1e-10)
    network.backward(cross_entropy_slope(z, 2))
    assert len(network.hidden) > sum(h > 0 for h in network.hidden) > 0  # ReLU lets some pass, not all
    for slopes, leaf in (
        (network.dense2.weights_slope, w2),
        (network.dense2.biases_slope, b2),
        (network.dense1.weights_slope, w1),
        (network.dense1.biases_slope, b1),
        (network.conv.biases_slope, b),
    ):
        torch.testing.assert_close(torch.tensor(slopes, dtype=torch.float64), leaf.grad, rtol=0, atol=1e-10)
    expected = [flat(as_map(window.transpose(1, 2))) for window in w.grad]  # column after column
    for slopes, column in zip(network.conv.weights_slope, expected, strict=True):
        assert slopes == pytest.approx(column, abs=1e-10)


def test_without_padding_13_924_numbers_enter_the_dense_layer_and_14_400_with():
    assert len(CNN(SOURCE, Random(0)).dense1.weights[0]) == 59 * 59 * 4 == 13_924
    padded = Shape((120, 120, 3), 3, 4, 1, 1, 2, 12, 3)
    assert len(CNN(padded, Random(0)).dense1.weights[0]) == 14_400


def test_it_learns_nine_pictures_with_finite_losses_and_the_same_on_every_run():
    samples = scaled(stripes(16))

    def run():
        random = Random(5)
        network = CNN(Shape((16, 16, 3), 3, 4, 1, 0, 2, 12, 3), random)
        steps = list(train(network, samples, epochs=12, rate=0.01, random=random))
        return network, steps

    network, steps = run()
    assert all(math.isfinite(step.loss) for step in steps)
    assert [predicted(network.forward(image)) for image, _ in samples] == [label for _, label in samples]
    assert steps == run()[1]
    assert sorted(s.sample for s in steps[:9]) == list(range(9)) != [s.sample for s in steps[:9]]  # shuffled


def overflowing(z):
    """e^z_i / sum_j e^z_j as it stands, with e^z = inf where a float cannot hold it."""
    powers = [math.exp(v) if v < 709 else math.inf for v in z]
    return [v / sum(powers) for v in powers]  # inf / inf is nan


def as_source_003(softmax, cures=()):
    """One epoch on nine pictures: -ln(p + 1e-15), 0..255, class after class. (losses, largest logits)"""
    random, pictures = Random(0), stripes(16)
    network = CNN(Shape((16, 16, 3), 3, 4, 1, 0, 2, 12, 3), random)
    if "he" not in cures:
        for layer in (network.conv, network.dense1, network.dense2):
            layer.weights = [[random.uniform(-0.02, 0.02) for _ in row] for row in layer.weights]
    if "scaled" in cures:
        pictures = scaled(pictures)
    if "shuffled" in cures:
        random.shuffle(pictures)
    losses, largest = [], []
    for image, label in pictures:
        z = network.forward(image)
        p = softmax(z)
        losses.append(-math.log(p[label] + 1e-15))
        largest.append(max(map(abs, z)))
        network.backward([q - (k == label) for k, q in enumerate(p)])
        network.descend(0.1 if "step" not in cures else 0.01)
    return losses, largest


def test_the_failure_of_source_003_is_one_step_that_was_too_large_and_then_overflow():
    """Its losses were 1.0926, -0.0000, -0.0000, 34.5388, -0.0000, -0.0000, nan.

    One step on unscaled pixels makes the network certain; the first picture of the next class then has
    probability 0, costs -ln(1e-15) = 34.5388, and its step throws the weights a million times further. The
    same at the third class, unless by then a power of e has overflowed: inf / inf is the nan. How soon that
    happens depends on how softmax is written, which the source does not say. No number has to be too small
    for a float, as the source suspects: its 34.5388 fits a probability of 0 with 1e-15 added or put in its
    place.
    """
    losses, largest = as_source_003(softmax)
    certain, blow = ["-0.0000", "-0.0000"], ["34.5388"]
    assert losses[0] == pytest.approx(math.log(3), abs=0.1)
    assert [f"{loss:.4f}" for loss in losses[1:]] == certain + blow + certain + blow + certain
    assert largest[4] > 1e6 * largest[3]
    assert largest[7] > 1e12 * largest[6]
    losses, largest = as_source_003(overflowing)
    assert [f"{loss:.4f}" for loss in losses[1:5]] == [*certain, *blow, "nan"]
    assert largest[4] > 709  # e^709 is the last power that a float holds


def test_scaled_inputs_he_start_shuffling_and_a_smaller_step_cure_it():
    losses, largest = as_source_003(softmax, cures=("scaled", "he", "shuffled", "step"))
    assert max(losses) < 10
    assert max(largest) < 10
    unscaled, _ = as_source_003(softmax, cures=("he", "shuffled", "step"))
    assert max(unscaled) > 30  # scaling is not to be left out


def test_a_loss_that_is_no_number_stops_before_the_update():
    random = Random(0)
    network = CNN(Shape((16, 16, 3), 3, 4, 1, 0, 2, 12, 3), random)
    before = [list(row) for row in network.dense1.weights]
    damaged = [[math.nan] * 48 for _ in range(16)]
    with pytest.raises(ArithmeticError, match="epoch 1, step 1: the loss is nan; a smaller learning rate"):
        next(train(network, [(damaged, 0)], epochs=1, rate=0.1, random=random))
    assert network.dense1.weights == before
