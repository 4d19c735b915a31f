"""Signs, their straight-through estimators, and binary weights with a scale for each filter."""

import numpy as np
import pytest
import torch

from concord.errors import UsageError
from concord.layers.binary.sign import drawn_sign, sign
from concord.layers.binary.weights import GRADIENTS, alpha_of, binary, clip_latent

X = (-3.0, -1.25, -1.0, -0.25, -0.0, 0.0, 0.5, 1.0, 1.5)
G = (2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0)


def backward(x, g, **options):
    x = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    y = sign(x, **options)
    y.backward(torch.tensor(g, dtype=torch.float64))
    return y.tolist(), x.grad.tolist()


def test_zero_of_either_sign_gives_plus_one():
    assert sign(torch.tensor(X)).tolist() == [-1, -1, -1, -1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("grad", [True, False])
def test_nan_stays_nan_and_infinities_have_signs(grad):
    with torch.set_grad_enabled(grad):
        y = sign(torch.tensor([torch.nan, -torch.inf, torch.inf], requires_grad=True))
    assert y[0].isnan()
    assert y[1:].tolist() == [-1, 1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("estimator", ["clip", "polynomial"])
def test_the_estimator_changes_no_number_of_the_forward_pass(dtype, estimator):
    x = (3 * torch.randn(5000, generator=torch.Generator().manual_seed(0))).to(dtype).requires_grad_()
    y = sign(x, estimator=estimator)
    assert y.dtype == dtype
    assert set(y.tolist()) == {-1.0, 1.0}
    assert torch.equal(y < 0, x < 0)


def test_the_gradient_passes_within_the_clip_both_ends_included():
    assert backward(X, G)[1] == [0, 0, 5, 7, 11, 13, 17, 19, 0]
    assert backward(X, G, clip=1.25)[1] == [0, 3, 5, 7, 11, 13, 17, 19, 0]
    assert backward(X, G, clip=0.25)[1] == [0, 0, 0, 7, 11, 13, 0, 0, 0]


def test_the_polynomial_estimator_has_two_minus_two_x_as_derivative():
    assert backward(X, G, estimator="polynomial")[1] == [0, 0, 0, 7 * 1.5, 22, 26, 17.0, 0, 0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "clipp"}, r"no estimator 'clipp' \(did you mean 'clip'\?\); use one of: clip, poly"),
        ({"clip": 0.0}, "clip is a finite number above 0, got 0"),
        ({"clip": float("nan")}, "clip is a finite number above 0, got nan"),
        ({"clip": 2.0, "estimator": "polynomial"}, "has a clip of 1, got 2"),
    ],
)
def test_what_the_sign_does_not_take_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        sign(torch.zeros(2), **options)


def test_whole_numbers_are_refused():
    with pytest.raises(UsageError, match=r"floating-point numbers, got torch.int64; convert"):
        sign(torch.tensor([1, -1]))


def test_drawn_signs_are_plus_one_as_often_as_the_hard_sigmoid_says():
    weight = torch.tensor([-1.5, -1.0, -0.5, 0.2, 1.0, 1.5])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = drawn_sign(weight.expand(20_000, 6))
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    shares = (drawn == 1).double().mean(0).tolist()
    assert [shares[i] for i in (0, 1, 4, 5)] == [0, 0, 1, 1]
    assert shares[2:4] == pytest.approx([0.25, 0.6], abs=5 * 0.5 / 20_000**0.5)


def test_a_drawn_sign_of_nan_is_nan():
    assert drawn_sign(torch.tensor([torch.nan, 1.0])).isnan().tolist() == [True, False]


def test_drawn_signs_pass_gradients_as_the_sign_does():
    weight = torch.tensor([-1.5, -1.0, 0.2, 1.01], requires_grad=True)
    drawn_sign(weight).backward(torch.tensor([2.0, 3, 5, 7]))
    assert weight.grad.tolist() == [0, 3, 5, 0]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_alpha_is_the_least_squares_factor_of_the_signs(gradient):
    weight = torch.randn(5, 3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    signs, alpha = binary(weight, gradient)
    for row, own, factor in zip(weight, signs, alpha, strict=True):
        best = np.linalg.lstsq(own.reshape(-1, 1).numpy(), row.flatten().numpy(), rcond=None)[0]
        assert factor.item() == pytest.approx(best[0], rel=1e-12)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_alpha_by_hand_and_without_a_gradient_to_the_last_bit(gradient):
    weight = torch.tensor([[0.5, -1.5, 0.0, 4.0], [-0.25, -0.25, -0.25, 0.25]])
    signs, alpha = binary(weight, gradient)
    assert signs.tolist() == [[1, -1, 1, 1], [-1, -1, -1, 1]]
    assert alpha.tolist() == [1.5, 0.25]
    with torch.no_grad():
        fixed = binary(weight, gradient)
    assert torch.equal(fixed.signs, signs)
    assert torch.equal(fixed.alpha, alpha)


def gradients(weight, g, gradient):
    weight = torch.tensor([weight], dtype=torch.float64, requires_grad=True)
    signs, alpha = binary(weight, gradient)
    (alpha * signs).backward(torch.tensor([g], dtype=torch.float64))
    return weight.grad[0].tolist()


def test_the_exact_gradient_by_hand():
    # alpha = (0.5 + 1.5 + 0 + 4) / 4 = 1.5, sum_j g_j sign(W_j) = 8 - 4 + 12 + 16 = 32, 32 / 4 = 8
    found = gradients([0.5, -1.5, 0.0, 4.0], [8.0, 4.0, 12.0, 16.0], "exact")
    assert found == [8 + 1.5 * 8, -8, 8 + 1.5 * 12, 8]


def test_the_gradient_of_the_paper_by_hand():
    found = gradients([0.5, -1.5, 0.0, 4.0], [8.0, 4.0, 12.0, 16.0], "paper")
    assert found == pytest.approx([8 * (0.25 + 1.5), 4 * 0.25, 12 * (0.25 + 1.5), 16 * 0.25], rel=1e-12)


def test_the_exact_gradient_is_the_derivative_through_alpha():
    def scale(weight):
        return alpha_of(weight, sign(weight.detach()))

    weight = torch.tensor([[0.3, -0.7, 1.2], [-0.1, 0.9, -2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(scale, weight)


def test_a_filter_of_zeros_has_a_finite_gradient():
    assert gradients([0.0, 0.0], [4.0, 6.0], "exact") == [5, 5]
    assert gradients([0.0, 0.0], [4.0, 6.0], "paper") == [0, 0]


def test_an_unknown_gradient_is_refused():
    with pytest.raises(UsageError, match=r"no gradient 'exakt' \(did you mean 'exact'\?\)"):
        binary(torch.zeros(1, 2), "exakt")


def test_latent_weights_are_clipped_in_place_unless_they_are_frozen():
    weight = torch.nn.Parameter(torch.tensor([-3.0, -0.5, 1.0, 2.0]))
    clip_latent(weight)
    assert weight.tolist() == [-1, -0.5, 1, 1]
    frozen = torch.nn.Parameter(torch.tensor([-3.0, 2.0]), requires_grad=False)
    clip_latent(frozen)
    assert frozen.tolist() == [-3, 2]
