"""Products by oneDNN beside those in float64, and their gradients beside autograd's."""

import pytest
import torch

from concord.layers import products
from concord.layers.products import Linear, product, product_into


@pytest.mark.parametrize("sizes", [(64, 128, 512), (3, 5, 2), (1, 1, 1), (700, 33, 17)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_onednn", [True, False])
def test_a_product_is_that_of_float64_also_of_transposed_matrices(sizes, dtype, with_onednn, monkeypatch):
    if not with_onednn:
        monkeypatch.setattr(products, "_onednn", None)
    rows, inner, columns = sizes
    a, b = torch.randn(rows, inner, dtype=dtype), torch.randn(columns, inner, dtype=dtype)
    expected = a.double() @ b.double().T
    into, turned = torch.empty(rows, columns, dtype=dtype), product(a.T.contiguous().T, b.T.contiguous().T)
    product_into(into, a, b)
    for found in (product(a, b), turned, into):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("with_bias", [True, False])
def test_a_linear_layer_has_the_gradients_of_finite_differences(with_bias):
    x, weight, bias = (
        torch.randn(*s, dtype=torch.float64, requires_grad=True) for s in ((5, 3), (4, 3), (4,))
    )
    assert torch.autograd.gradcheck(Linear.apply, (x, weight, bias if with_bias else None))


def test_a_linear_layer_is_torchs_in_float32():
    x, weight, bias = (torch.randn(*s, requires_grad=True) for s in ((200, 300), (400, 300), (400,)))
    pull = torch.randn(200, 400)
    found = torch.autograd.grad((Linear.apply(x, weight, bias) * pull).sum(), (x, weight, bias))
    expected = torch.autograd.grad(
        (torch.nn.functional.linear(x, weight, bias) * pull).sum(), (x, weight, bias)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
