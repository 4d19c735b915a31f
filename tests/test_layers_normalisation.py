"""Batch normalisation with a shift and no scale."""

import pytest
import torch
from torch import nn

from concord.layers.normalisation import ShiftBatchNorm2d

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


def shifted(dtype=torch.float32):
    layer = ShiftBatchNorm2d(3, eps=1e-3, momentum=0.01).to(dtype)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([-1.0, 0.5, 2.0]))
    return layer


def test_values_by_hand():
    # Mean 3, variance 4: (1 - 3) / sqrt(4 + 0.5) + 10 and (5 - 3) / sqrt(4 + 0.5) + 10.
    layer = ShiftBatchNorm2d(1, eps=0.5)
    nn.init.constant_(layer.bias, 10)
    y = layer(torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1))
    assert y.flatten().tolist() == pytest.approx([10 - 2 / 4.5**0.5, 10 + 2 / 4.5**0.5])


def test_the_scale_is_absent():
    assert [name for name, _ in shifted().named_parameters()] == ["bias"]
    assert set(shifted().state_dict()) == {"bias", "running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_equals_torch_with_a_scale_of_one(dtype, layout, device):
    layer, full = shifted(), nn.BatchNorm2d(3, eps=1e-3, momentum=0.01)
    full.load_state_dict({**layer.state_dict(), "weight": torch.ones(3)})
    layer, full = layer.to(device), full.to(device)
    x = torch.randn(4, 3, 5, 5, dtype=dtype, device=device).to(memory_format=layout)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, z = layer(ours), full(theirs)
    y.pow(3).sum().backward()
    z.pow(3).sum().backward()
    torch.testing.assert_close(y, z)
    assert y.is_contiguous(memory_format=layout)
    torch.testing.assert_close(ours.grad, theirs.grad)
    torch.testing.assert_close(layer.bias.grad, full.bias.grad)
    torch.testing.assert_close(layer.state_dict(), {k: full.state_dict()[k] for k in layer.state_dict()})
    torch.testing.assert_close(layer.eval()(x), full.eval()(x))


def test_gradients_match_finite_differences():
    layer = shifted(torch.float64)
    x = torch.randn(3, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, b: torch.func.functional_call(layer, {"bias": b}, x), (x, layer.bias)
    )
