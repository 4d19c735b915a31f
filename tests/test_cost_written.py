"""Maps that are written over behind other tensors, wrapped round or shifted: no local field outlives them."""

import pytest
import torch
import torch.nn.functional as F
from fuzz_made import Applied, kind, shifted, wrapped
from torch import nn

from concord.cost.count import count

SIZE = 6


def flipped_behind_a_view(x):
    y = x.clone()
    view = y[..., 1:]
    y.copy_(x.flip(-1))
    return view


def averaged_behind_a_view(x):
    y = torch.zeros_like(x)
    view = y[..., :]
    y.copy_(F.avg_pool1d(x, 3, 1, 1))
    return view + x


def summed_behind_a_view(x):
    y = x.clone()
    view = y[..., :]
    y.cumsum_(-1)
    return view


def flipped_behind_its_history(x):
    y = x.clone()
    y.detach().copy_(x.flip(-1))
    return y


def added_to_many_at_once(x):
    y = x.clone()
    torch._foreach_add_([y], [x.flip(-1)])
    return y


def above(network, n):
    """A network below 3 layers, and the rows of all four."""
    layers = [kind("Conv", n)(1, 1, 1), network, kind("Conv", n)(1, 1, 3), nn.ReLU(), kind("AvgPool", n)(2)]
    return count(nn.Sequential(*layers), (1, *(SIZE,) * n))


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    "padding",
    [
        lambda n: kind("CircularPad", n)(1),
        lambda n: kind("Conv", n)(1, 1, 3, padding=1, padding_mode="circular"),
        lambda n: Applied("circular", lambda x: F.pad(x, (1, 1) * n, mode="circular")),
        lambda n: nn.Sequential(kind("ReplicationPad", n)(1), kind("CircularPad", n)(1)),
    ],
)
def test_nothing_is_local_behind_circular_padding(padding, n):
    cost = above(padding(n), n)
    assert {layer.fields for layer in cost.layers if layer.path in "234"} == {(None,) * (n + 2)}
    assert cost.receptive_field.path in ("0", "1.0")


@pytest.mark.parametrize(
    "written",
    [
        shifted,
        wrapped,
        flipped_behind_a_view,
        averaged_behind_a_view,
        summed_behind_a_view,
        flipped_behind_its_history,
        added_to_many_at_once,
    ],
)
def test_nothing_is_local_behind_a_map_that_another_tensor_wrote(written):
    cost = above(Applied(written.__name__, written), 1)
    assert {layer.fields for layer in cost.layers if layer.path in "234"} == {(None,) * 3}


def test_a_view_ends_nothing_where_what_is_written_sees_the_same():
    def halved(x):
        y = x.clone()
        y[..., 1:].mul_(0.5)
        return y

    assert above(Applied("halved", halved), 1).receptive_field.text == "4"
