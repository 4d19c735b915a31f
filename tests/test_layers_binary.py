"""Convolutions and dense layers with binary weights against sums written out in numpy."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call, vmap

from concord.errors import ShapeError, UsageError
from concord.layers.binary.convolution import BinaryConnectConv2d, BWNConv2d, XNORConv2d
from concord.layers.binary.dense import BinaryConnectLinear, BWNLinear, XNORLinear

CONVOLUTIONS = [BinaryConnectConv2d, BWNConv2d, XNORConv2d]
LAYERS = [*CONVOLUTIONS, BinaryConnectLinear, BWNLinear, XNORLinear]


def signs(x):
    return np.where(x < 0, -1, 1)


def pairs(size):
    return size if isinstance(size, tuple) else (size, size)


def sums(x, weight, layer, outside):
    """The convolution as a sum over taps, on numbers of any kind."""
    (kh, kw), (sh, sw), (dh, dw) = weight.shape[2:], pairs(layer.stride), pairs(layer.dilation)
    top, left = ((dh * (kh - 1)) // 2, (dw * (kw - 1)) // 2) if layer.padding == "same" else layer.padding
    if layer.padding == "same":
        bottom, right = dh * (kh - 1) - top, dw * (kw - 1) - left
    else:
        bottom, right = top, left
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=outside)
    rows, columns = (x.shape[2] - dh * (kh - 1) - 1) // sh + 1, (x.shape[3] - dw * (kw - 1) - 1) // sw + 1
    each, filters = weight.shape[1], weight.shape[0]
    y = np.zeros((len(x), filters, rows, columns), x.dtype)
    for o, i, j in product(range(filters), range(kh), range(kw)):
        first = o // (filters // layer.groups) * each
        seen = x[:, first : first + each, i * dh :, j * dw :]
        seen = seen[:, :, : (rows - 1) * sh + 1 : sh, : (columns - 1) * sw + 1 : sw]
        y[:, o] += np.einsum("bchw,c->bhw", seen, weight[o, :, i, j])
    return y


def scales(x, layer):
    """K, the mean absolute value of each window, for each filter."""
    taps = np.ones_like(layer.weight.detach().numpy())
    return sums(np.abs(x), taps, layer, layer.padding_value) / taps[0].size


def given_numbers(layer, shape, seed=0):
    """Inputs with both zeros among them, and biases that are not small."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
            parameter.flatten()[:2] = torch.tensor([0.0, -0.0])[: parameter.numel()]
    x = torch.randn(shape, generator=draw)
    x[x.abs() < 0.2] *= 0.0
    return x.to(next(layer.parameters()).dtype)


@st.composite
def convolutions(draw):
    kernel = draw(st.tuples(*[st.integers(1, 5)] * 2))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c, o = groups * draw(st.integers(1, 130 // groups)), groups * draw(st.integers(1, 65 // groups))
    dilation = draw(st.tuples(*[st.integers(1, 2)] * 2))
    options = {"padding": draw(st.tuples(*[st.integers(0, 3)] * 2)), "dilation": dilation, "groups": groups}
    if draw(st.booleans()):
        options["padding"] = "same"
    else:
        options["stride"] = draw(st.tuples(*[st.integers(1, 3)] * 2))
    sides = [d * (k - 1) + 1 + draw(st.integers(0, 4)) for d, k in zip(dilation, kernel, strict=True)]
    shape = (draw(st.sampled_from([1, 2, 17])), c, *sides)
    return (c, o, kernel), options, draw(st.integers(0, 1)), draw(st.booleans()), shape


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(0, 99))
def test_an_xnor_convolution_is_exact_to_the_last_bit(made, seed):
    sizes, options, outside, scaled, shape = made
    layer = XNORConv2d(*sizes, **options, padding_value=outside, scale_inputs=scaled).eval()
    x = given_numbers(layer, shape, seed)
    weight = layer.weight.detach().numpy()
    whole = sums(signs(x.numpy()), signs(weight), layer, outside)  # int64
    alpha = (layer.weight.detach().abs().flatten(1).mean(1)).numpy()[:, None, None]
    y = whole.astype(np.float32)
    if scaled:
        y64 = whole * scales(x.numpy().astype(np.float64), layer) * alpha.astype(np.float64)
        y64 = y64 + layer.bias.detach().numpy()[:, None, None]
        np.testing.assert_allclose(layer(x).detach().numpy(), y64, rtol=1e-4, atol=1e-4)
        return
    y = y * alpha + layer.bias.detach().numpy()[:, None, None]
    for ours in (layer(x), layer.requires_grad_(False)(x), layer(x.to(memory_format=torch.channels_last))):
        assert np.array_equal(ours.detach().numpy(), y)


def test_one_row_by_hand_with_the_order_of_scales():
    layer = XNORConv2d(1, 1, (1, 2), padding=(0, 1), scale_inputs=True)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[[[0.5, -1.0]]]]))
        layer.bias.fill_(10)
    x = torch.tensor([[[[3.0, -2.0, 0.0]]]])
    # signs 0 + - + 0 with - + as kernel of signs (+, -): -1, 2, -2, 1; K = 1.5, 2.5, 1, 0; alpha = 0.75
    assert layer(x).flatten().tolist() == [10 - 1.125, 10 + 3.75, 10 - 1.5, 10]
    ones = XNORConv2d(1, 1, (1, 2), padding=(0, 1), scale_inputs=True, padding_value=1)
    ones.load_state_dict(layer.state_dict())
    # signs + + - + +: 0, 2, -2, 0; K = 2, 2.5, 1, 0.5
    assert ones(x).flatten().tolist() == [10, 10 + 3.75, 10 - 1.5, 10]


@pytest.mark.parametrize("kind", CONVOLUTIONS[:2])
@pytest.mark.parametrize(
    "options",
    [
        {"stride": (2, 1), "padding": (1, 2), "groups": 2},
        {"padding": "same", "dilation": 3},
        {"padding": "valid", "dilation": (1, 2), "bias": False},
    ],
)
def test_real_inputs_meet_signs_of_the_weights(kind, options):
    layer = kind(4, 6, (2, 3), dtype=torch.float64, **options)
    x = given_numbers(layer, (2, 4, 9, 8))
    weight = layer.weight.detach().numpy()
    layer.padding = (0, 0) if layer.padding == "valid" else layer.padding
    alpha = np.abs(weight).reshape(6, -1).mean(1)[:, None, None] if kind is BWNConv2d else 1
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()[:, None, None]
    wanted = sums(x.numpy(), signs(weight).astype(float), layer, 0.0) * alpha + bias
    np.testing.assert_allclose(layer(x).detach().numpy(), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers_by_hand(bias):
    x = torch.tensor([[3.0, -2.0, -0.0, 1.0]])
    weight, extra = [[0.5, 1.0, -1.5, -5.0]], 10 * bias
    # signs of the weights + + - -: 3 - 2 + 0 - 1 = 0; with signs + - + + of x: 1 - 1 - 1 - 1 = -2
    wanted = {BinaryConnectLinear: 0, BWNLinear: 0, XNORLinear: -2 * 2.0}
    for kind, number in wanted.items():
        layer = kind(4, 1, bias=bias)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor(weight))
            if bias:
                layer.bias.fill_(10)
        assert layer(x).tolist() == [[number + extra]]
        other = layer(torch.tensor([[[5.0, -2, 4, 1]]] * 3))
        assert other.tolist() == [[[{BinaryConnectLinear: -2, BWNLinear: -4}.get(kind, -4) + extra]]] * 3
    layer = XNORLinear(4, 1, scale_inputs=True, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        if bias:
            layer.bias.fill_(10)
    assert layer(x).tolist() == [[-2 * 1.5 * 2.0 + extra]]


@pytest.mark.parametrize("gradient", ["exact", "paper"])
@pytest.mark.parametrize("kind", [BWNConv2d, BWNLinear, XNORConv2d, XNORLinear])
def test_gradients_of_a_layer_are_those_of_scaled_signs(kind, gradient):
    convolution = kind in CONVOLUTIONS
    layer = kind(5, 3, *[3] * convolution, gradient=gradient, dtype=torch.float64)
    x = given_numbers(layer, (4, 5, 5, 6) if convolution else (4, 5)).requires_grad_()
    weight = layer.weight.detach()
    alpha = weight.abs().flatten(1).mean(1).view(-1, *[1] * (weight.ndim - 1))
    product = (alpha * torch.where(weight < 0, -1.0, 1.0)).requires_grad_()  # W~, one tensor
    plain = nn.functional.conv2d if convolution else nn.functional.linear
    binary_input = kind in (XNORConv2d, XNORLinear)
    seen = (torch.where(x < 0, -1.0, 1.0) if binary_input else x).detach().double().requires_grad_()
    y, other = layer(x), plain(seen, product, layer.bias.detach())
    torch.testing.assert_close(y, other)
    up = torch.randn(y.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y.backward(up)
    other.backward(up)
    g, n, inside = product.grad, weight[0].numel(), (weight.abs() <= 1).double()
    own = torch.where(weight < 0, -1.0, 1.0).double()
    through = (g * own).flatten(1).sum(1).view(alpha.shape) * own / n
    wanted = {"exact": through + alpha * g * inside, "paper": g * (1 / n + alpha * inside)}[gradient]
    torch.testing.assert_close(layer.weight.grad, wanted)
    passed = (x.detach().abs() <= 1).double() if binary_input else 1
    torch.testing.assert_close(x.grad, seen.grad * passed)


@pytest.mark.parametrize("kind", [BWNConv2d, BinaryConnectConv2d])
def test_gradients_of_inputs_and_biases_match_finite_differences(kind):
    layer = kind(2, 4, (3, 2), 2, 1, groups=2, dtype=torch.float64)
    x = given_numbers(layer, (2, 2, 5, 4)).requires_grad_()

    def of(x, bias):
        return functional_call(layer, {"bias": bias}, (x,))

    assert torch.autograd.gradcheck(of, (x, layer.bias.detach().clone().requires_grad_()))


def test_the_options_of_the_sign_reach_the_inputs():
    x = torch.tensor([[-1.5, -0.25, 0.5, 1.1]])
    for options, wanted in (
        ({}, [0, 1, 1, 0]),
        ({"clip": 1.25}, [0, 1, 1, 1]),
        ({"estimator": "polynomial"}, [0, 1.5, 1, 0]),
    ):
        layer = XNORLinear(4, 1, **options)
        nn.init.ones_(layer.weight)
        own = x.clone().requires_grad_()
        layer(own).sum().backward()
        assert own.grad.tolist() == [wanted]
        layer = XNORConv2d(4, 1, 1, **options)
        nn.init.ones_(layer.weight)
        own = x.view(1, 4, 1, 1).clone().requires_grad_()
        layer(own).sum().backward()
        assert own.grad.flatten().tolist() == wanted


@pytest.mark.parametrize(
    ("kind", "shape"), [(BinaryConnectConv2d, (1, 8, 3, 3)), (BinaryConnectLinear, (1, 8))]
)
def test_stochastic_signs_are_drawn_in_training_and_fixed_in_evaluation(kind, shape):
    layer = kind(8, 6, *[3] * (kind is BinaryConnectConv2d), bias=False, stochastic=True)
    nn.init.constant_(layer.weight, 0.5)
    x = torch.ones(shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, two = layer(x), layer(x)
        torch.manual_seed(0)
        assert torch.equal(layer(x), one)
    n = layer.weight[0].numel()
    assert not torch.equal(one, two)
    assert ((one + n) % 2 == 0).all()  # a sum of n signs
    assert (layer.eval()(x) == n).all()


@pytest.mark.parametrize("kind", LAYERS)
def test_members_of_one_kind_are_computed_in_one_pass(kind):
    made = [kind(3, 4, *[3] * (kind in CONVOLUTIONS), dtype=torch.float64) for _ in range(2)]
    x = given_numbers(made[0], (2, 3, 4, 5) if kind in CONVOLUTIONS else (2, 3))
    given_numbers(made[1], x.shape, seed=5)
    stack = {
        name: torch.stack([dict(m.named_parameters())[name] for m in made]) for name in ("weight", "bias")
    }
    together = vmap(lambda own: functional_call(made[0], own, (x,)))(stack)
    torch.testing.assert_close(together, torch.stack([m(x) for m in made]))


@pytest.mark.parametrize("kind", LAYERS)
def test_states_are_those_of_the_float_layer(kind):
    plain = nn.Conv2d(3, 4, 3) if kind in CONVOLUTIONS else nn.Linear(3, 4)
    layer = kind(3, 4, *[3] * (kind in CONVOLUTIONS))
    layer.load_state_dict(plain.state_dict())
    assert torch.equal(layer.weight, plain.weight)
    assert layer.undecayed == ("weight",)
    nn.init.constant_(layer.weight, -7)
    nn.init.constant_(layer.bias, 7)
    layer.after_update()
    assert (layer.weight == -1).all()
    assert (layer.bias == 7).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: XNORConv2d(0, 2, 3), "in_channels is a whole number of at least 1"),
        (lambda: XNORConv2d(2, 2, (3, 0)), r"kernel_size is .*got \(3, 0\)"),
        (lambda: BWNConv2d(2, 2, 3, stride=0), "stride is a whole number"),
        (lambda: BWNConv2d(2, 2, 3, dilation=1.5), "dilation is a whole number"),
        (lambda: BWNConv2d(3, 2, 3, groups=2), "divisible by groups"),
        (lambda: BinaryConnectConv2d(3, 2, 3, padding="full"), "padding"),
        (lambda: XNORConv2d(3, 2, 3, padding_value=-1), "padding_value is 0 or 1, got -1"),
        (lambda: XNORConv2d(3, 2, 3, estimator="none"), "no estimator 'none'"),
        (lambda: XNORLinear(3, 2, clip=-1.0), "clip is a finite number above 0"),
        (lambda: XNORLinear(3, 2, gradient="none"), "no gradient 'none'"),
        (lambda: BWNLinear(3, 2, gradient="none"), "no gradient 'none'"),
        (lambda: BWNConv2d(3, 2, 1, gradient="none"), "no gradient 'none'"),
        (lambda: BinaryConnectLinear(3, 0), "out_features is a whole number of at least 1"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_maps_that_do_not_fit_are_refused(kind):
    layer = kind(3, 2, (3, 2), dilation=2, padding=(1, 0))
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(1, 2, 9, 9\)"):
        layer(torch.zeros(1, 2, 9, 9))
    with pytest.raises(ShapeError, match=r"expected \(B, 3, H, W\), got \(3, 9, 9\)"):
        layer(torch.zeros(3, 9, 9))
    with pytest.raises(ShapeError, match="a map of 2x9 with its padding is smaller than one window of 5x3"):
        layer(torch.zeros(1, 3, 2, 9))
    assert layer(torch.zeros(1, 3, 3, 3)).shape == (1, 2, 1, 1)


@pytest.mark.parametrize("kind", LAYERS[3:])
def test_features_that_do_not_fit_are_refused(kind):
    with pytest.raises(ShapeError, match=r"expected \(..., 3\), got \(2, 4\)"):
        kind(3, 2)(torch.zeros(2, 4))
