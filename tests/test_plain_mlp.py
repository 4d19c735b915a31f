"""The multilayer perceptron: adjoint equations by hand, every gradient against autograd, XOR."""

from math import e, exp, tanh
from random import Random

import pytest
import torch

from concord.plain import mlp
from concord.plain.mlp import Layer, hyperbolic, identity, relu, sigmoid

XOR = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
XOR_TARGETS = [[0.0], [1.0], [1.0], [0.0]]
OF_TORCH = {sigmoid: torch.sigmoid, hyperbolic: torch.tanh, relu: torch.relu, identity: torch.clone}
NAMES = {sigmoid: "sigmoid", hyperbolic: "tanh", relu: "relu", identity: "identity"}


def drawn(random, rows, columns):
    return [[random.uniform(-1.5, 1.5) for _ in range(columns)] for _ in range(rows)]


def network(seed, *activations):
    """Widths 3 - 4 - 2 - 3 with biases that are not zero."""
    layers = mlp.start((3, 4, 2, 3)[: len(activations) + 1], activations, seed)
    random = Random(seed)
    for layer in layers:
        layer.bias[:] = drawn(random, 1, len(layer.bias))[0]
    return layers


def objective_of_torch(layers, samples, targets):
    """(parameters, sum ||y - x(L)||^2) with torch's own operations."""
    parameters, x = [], torch.tensor(samples, dtype=torch.float64)
    for layer in layers:
        weights = torch.tensor(layer.weights, dtype=torch.float64, requires_grad=True)
        bias = torch.tensor(layer.bias, dtype=torch.float64, requires_grad=True)
        parameters += [weights, bias]
        x = OF_TORCH[layer.activation](torch.nn.functional.linear(x, weights, bias))
    return parameters, torch.nn.functional.mse_loss(
        x, torch.tensor(targets, dtype=torch.float64), reduction="sum"
    )


def equal(ours, theirs):
    torch.testing.assert_close(torch.tensor(ours, dtype=torch.float64), theirs, rtol=0, atol=1e-10)


# --- by hand ------------------------------------------------------------------


def two_layers():
    return [
        Layer([[1.0, -2.0], [3.0, 0.5]], [0.5, -1.0], relu),
        Layer([[2.0, -1.0]], [0.25], identity),
    ]


def test_forward_by_hand():
    # A(1) = (2 - 2 + .5, 6 + .5 - 1) = (.5, 5.5), all above 0; A(2) = 1 - 5.5 + .25
    passed = mlp.forward(two_layers(), [2.0, 1.0])
    assert passed.sums == [[0.5, 5.5], [-4.25]]
    assert passed.outputs == [[2, 1], [0.5, 5.5], [-4.25]]


def test_backward_by_hand():
    layers = two_layers()
    # z(2) = 2 (1 + 4.25) = 10.5, z(1) = (2 * 10.5, -10.5)
    assert mlp.backward(layers, mlp.forward(layers, [2.0, 1.0]), [1.0]) == [[21, -10.5], [10.5]]
    # x = (-1, 0): A(1) = (-.5, -4), both units are off: the output is .25, z(2) = 2 (1 - .25)
    assert mlp.backward(layers, mlp.forward(layers, [-1.0, 0.0]), [1.0]) == [[0, 0], [1.5]]


def test_update_by_hand():
    layers = two_layers()
    mlp.update(layers, mlp.gradients(layers, [[2.0, 1.0]], [[1.0]]), 0.1)
    # W + .1 z x': z(1) = (21, -10.5), x(0) = (2, 1); z(2) = 10.5, x(1) = (.5, 5.5)
    assert layers[0].weights == [pytest.approx([5.2, 0.1]), pytest.approx([0.9, -0.55])]
    assert layers[0].bias == pytest.approx([2.6, -2.05])
    assert layers[1].weights == [pytest.approx([2.525, 4.775])]
    assert layers[1].bias == pytest.approx([1.3])


def test_objective_is_the_sum_of_squares_and_2n_times_the_other_one():
    layers = [Layer([[1.0], [2.0]], [0.0, 1.0], identity)]
    samples, targets = [[3.0], [1.0]], [[1.0, 4.0], [1.0, 0.0]]
    total = mlp.objective(layers, samples, targets)
    assert total == 2**2 + 3**2 + 0 + 3**2
    j = sum(
        sum((a - b) ** 2 for a, b in zip(y, t, strict=True)) / 2
        for y, t in [((3, 7), (1, 4)), ((1, 3), (1, 0))]
    )
    assert total == 2 * len(samples) * j / len(samples)


def test_activations_by_hand():
    assert sigmoid.f(1.0) == pytest.approx(e / (1 + e))
    assert sigmoid.slope(1.0) == pytest.approx(e / (1 + e) ** 2)
    assert hyperbolic.slope(0.5) == pytest.approx(1 - tanh(0.5) ** 2)
    assert [relu.f(-2.0), relu.f(3.0), relu.slope(-2.0), relu.slope(0.0), relu.slope(3.0)] == [0, 3, 0, 0, 1]
    assert (identity.f(-2.5), identity.slope(-2.5)) == (-2.5, 1)


def test_sigmoid_does_not_overflow():
    assert [sigmoid.f(-1000.0), sigmoid.f(1000.0)] == [0, 1]
    assert sigmoid.f(-700.0) == pytest.approx(exp(-700))


# --- against autograd ---------------------------------------------------------


@pytest.mark.parametrize("activation", OF_TORCH, ids=NAMES.get)
@pytest.mark.parametrize("seed", range(3))
def test_every_gradient_equals_autograd(activation, seed):
    layers = network(seed, activation, hyperbolic, activation)
    random = Random(100 + seed)
    samples, targets = drawn(random, 5, 3), drawn(random, 5, 3)
    parameters, loss = objective_of_torch(layers, samples, targets)
    assert mlp.objective(layers, samples, targets) == pytest.approx(loss.item(), abs=1e-10)
    loss.backward()
    ours = [part for gradient in mlp.gradients(layers, samples, targets) for part in gradient]
    for gradient, parameter in zip(ours, parameters, strict=True):
        equal(gradient, parameter.grad)


def test_z_is_minus_the_derivative_by_the_sums():
    layers = network(4, sigmoid, hyperbolic)
    x, y = [0.3, -1.2, 0.8], [0.5, -0.4]
    z = mlp.backward(layers, mlp.forward(layers, x), y)
    parameters, loss = objective_of_torch(layers, [x], [y])
    loss.backward()
    for adjoint, bias in zip(z, parameters[1::2], strict=True):  # dE/db = dE/dA for one sample
        equal([-z_j for z_j in adjoint], bias.grad)


def test_one_step_of_training_is_one_step_of_sgd():
    layers = network(5, hyperbolic, sigmoid)
    samples, targets = [[0.1, -0.7, 1.1], [0.9, 0.2, -0.3]], [[0.2, 0.9], [0.6, 0.1]]
    parameters, loss = objective_of_torch(layers, samples, targets)
    loss.backward()
    torch.optim.SGD(parameters, lr=0.3).step()
    assert mlp.train(layers, samples, targets, rate=0.3, epochs=1) == [pytest.approx(loss.item())]
    for layer, weights, bias in zip(layers, parameters[::2], parameters[1::2], strict=True):
        equal(layer.weights, weights.detach())
        equal(layer.bias, bias.detach())


# --- start and XOR ------------------------------------------------------------


def test_the_start_is_that_of_its_seed():
    first, again, other = (mlp.start((3, 4, 2), (relu, identity), seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_start_fills_its_interval_and_no_more():
    weights = [w for row in mlp.start((50, 40), (relu,), 0)[0].weights for w in row]
    limit = (6 / 90) ** 0.5
    assert max(map(abs, weights)) <= limit
    assert sum(w**2 for w in weights) / len(weights) == pytest.approx(limit**2 / 3, rel=0.1)
    assert abs(sum(weights) / len(weights)) < limit / 20


def test_two_hidden_units_learn_xor_from_most_starts():
    # seed 7 ends where two of the four samples are told apart: a local minimum, E = 1/2
    ends = []
    for seed in range(10):
        layers = mlp.start((2, 2, 1), (hyperbolic, sigmoid), seed)
        mlp.train(layers, XOR, XOR_TARGETS, rate=0.5, epochs=500)
        ends.append(mlp.objective(layers, XOR, XOR_TARGETS))
    assert [seed for seed, end in enumerate(ends) if end > 0.05] == [7]
    assert ends[7] == pytest.approx(0.5, abs=0.02)


def test_xor_is_learned_from_the_start_of_seed_0():
    layers = mlp.start((2, 2, 1), (hyperbolic, sigmoid), 0)
    curve = mlp.train(layers, XOR, XOR_TARGETS, rate=0.5, epochs=500)
    answers = [mlp.forward(layers, x).outputs[-1][0] for x in XOR]
    assert [round(answer) for answer in answers] == [0, 1, 1, 0]
    assert max(abs(a - y) for a, (y,) in zip(answers, XOR_TARGETS, strict=True)) < 0.1
    assert curve[-1] < 0.02 < 0.9 < curve[0]


# --- refused ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("widths", "activations", "message"),
    [
        ((3,), (), r"widths: expected at least 2 numbers of at least 1, got \[3\]"),
        ((3, 0), (relu,), r"widths: expected at least 2 numbers of at least 1, got \[3, 0\]"),
        ((3, 2), (relu, relu), "activations: expected 1, one per layer, got 2"),
    ],
)
def test_widths_that_are_no_network_are_refused(widths, activations, message):
    with pytest.raises(ValueError, match=message):
        mlp.start(widths, activations, 0)


def test_samples_that_do_not_fit_are_refused():
    layers = two_layers()
    with pytest.raises(ValueError, match="input: expected 2 numbers, got 3"):
        mlp.forward(layers, [1, 2, 3])
    with pytest.raises(ValueError, match="target: expected 1 numbers, got 2"):
        mlp.gradients(layers, [[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="target: expected 1 numbers, got 2"):
        mlp.objective(layers, [[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="got 0 samples and 0 targets"):
        mlp.train(layers, [], [], rate=0.1, epochs=1)
    with pytest.raises(ValueError, match="got 2 samples and 1 targets"):
        mlp.objective(layers, [[1, 2], [3, 4]], [[1]])
    with pytest.raises(ValueError, match="layers: expected at least one, got none"):
        mlp.forward([], [1])


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="weights: expected 2 numbers per row as in row 0, got 1 in row 1"):
        mlp.forward([Layer([[1, 2], [3]], [0, 0], relu)], [1, 2])
    with pytest.raises(ValueError, match="bias: expected 1 numbers, got 2"):
        mlp.forward([Layer([[1, 2]], [0, 0], relu)], [1, 2])
    with pytest.raises(ValueError, match="layer 2: expected 1 inputs, the outputs of the layer below, got 3"):
        mlp.forward([Layer([[1, 2]], [0], relu), Layer([[1, 2, 3]], [0], relu)], [1, 2])
