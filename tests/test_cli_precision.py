import pytest
import torch
from torch import nn

from concord.cli.precision import idle_taps, settled, untrusted
from concord.errors import UsageError
from concord.training import toml


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [(1, 3, 1, 1, 1), (1, 3, 2, 1, 1), (2, 3, 1, 1, 1), (2, 3, 2, 1, 1), (3, 5, 1, 2, 1), (4, 3, 1, 2, 2)],
)
def test_idle_taps_are_those_whose_gradient_is_always_zero(size, kernel, stride, padding, dilation):
    weight = torch.randn(1, 1, kernel, 1, requires_grad=True)
    x = torch.rand(1, 1, size, 1) + 1
    y = nn.functional.conv2d(x, weight, stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))
    y.sum().backward()
    expected = bool((weight.grad == 0).any())
    assert idle_taps(size, kernel, stride, padding, dilation) == expected


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def test_the_first_convolution_with_idle_taps_is_named():
    assert untrusted(network(), (1, 8, 8)) is None
    assert untrusted(network(), (1, 4, 4)) == "1"


def configuration(precision):
    settings = {
        "members": [{"name": "a", "network": "x"}],
        "train": {"precision": precision, "device": "cpu"},
    }
    return toml.parse(settings)


def test_auto_falls_back_to_float32_and_an_explicit_wish_is_refused():
    config, members = configuration("bfloat16"), {"a": network()}
    assert settled(config, "auto", members, (1, 8, 8)).train.precision == "bfloat16"
    assert settled(config, "auto", members, (1, 4, 4)).train.precision == "float32"
    with pytest.raises(UsageError, match="member a, 1 has taps"):
        settled(config, "bfloat16", members, (1, 4, 4))
