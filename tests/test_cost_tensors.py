"""What is counted is what torch computes with: tensors, not what a constructor noted down."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from concord.cost.count import count
from concord.errors import ShapeError


def held(layer, **tensors):
    """The layer with other tensors of its own: pruned, widened, a new head."""
    for name, value in tensors.items():
        old = getattr(layer, name)
        setattr(layer, name, nn.Parameter(value) if isinstance(old, nn.Parameter) else value)
    return layer


def noted(layer, **values):
    """The layer with other attributes."""
    for name, value in values.items():
        setattr(layer, name, value)
    return layer


def statistics(layer, n, **more):
    return held(layer, running_mean=torch.zeros(n), running_var=torch.ones(n), **more)


# layer, input with its batch, MACs and parameters by hand
CHANGED = {
    "linear": (
        held(nn.Linear(7, 9), weight=torch.ones(4, 5), bias=torch.ones(4)),
        (2, 3, 5),
        2 * 3 * 5 * 4,
        24,
    ),
    "linear, no bias": (held(nn.Linear(7, 9, bias=False), weight=torch.ones(4, 5)), (3, 5), 3 * 5 * 4, 20),
    "linear, one bias for all": (
        held(nn.Linear(7, 9), weight=torch.ones(4, 5), bias=torch.ones(1)),
        (3, 5),
        60,
        21,
    ),
    "kernel": (held(nn.Conv2d(3, 8, 5), weight=torch.ones(8, 3, 2, 3)), (1, 3, 6, 7), 25 * 8 * 18, 152),
    "filters": (
        held(nn.Conv1d(3, 8, 5), weight=torch.ones(2, 3, 4), bias=torch.ones(2)),
        (2, 3, 9),
        2 * 6 * 2 * 12,
        26,
    ),
    "channels": (held(nn.Conv3d(3, 4, 2), weight=torch.ones(4, 1, 2, 2, 2)), (1, 1, 3, 4, 5), 24 * 4 * 8, 36),
    "groups": (
        held(nn.Conv2d(4, 8, 3, groups=2), weight=torch.ones(4, 3, 3, 3), bias=torch.ones(4)),
        (1, 6, 5, 5),
        9 * 4 * 27,
        112,
    ),
    "other groups": (
        noted(held(nn.Conv2d(4, 8, 3), weight=torch.ones(8, 1, 3, 3)), groups=4),
        (1, 4, 5, 5),
        648,
        80,
    ),
    "one number as kernel": (noted(nn.Conv2d(3, 8, 3), kernel_size=3), (1, 3, 7, 9), 35 * 8 * 27, 224),
    "one number as kernel, 1-d": (noted(nn.Conv1d(3, 8, 3), kernel_size=3), (1, 3, 7), 5 * 8 * 9, 80),
    "one number as kernel, 3-d": (noted(nn.Conv3d(1, 2, 2), kernel_size=2), (1, 1, 3, 3, 3), 8 * 2 * 8, 18),
    "a kernel that is not": (noted(nn.Conv2d(3, 8, 3), kernel_size=(7,)), (1, 3, 7, 9), 35 * 8 * 27, 224),
    "channels that are not": (
        noted(nn.Conv2d(3, 8, 3), in_channels=5, out_channels=2),
        (1, 3, 7, 9),
        35 * 8 * 27,
        224,
    ),
    "stride": (noted(nn.Conv2d(3, 8, 3), stride=2), (1, 3, 7, 9), 12 * 8 * 27, 224),
    "padding": (noted(nn.Conv2d(3, 8, 3), padding=(1, 0)), (1, 3, 3, 3), 3 * 8 * 27, 224),
    "batch norm": (
        statistics(nn.BatchNorm2d(8), 3, weight=torch.ones(3), bias=torch.ones(3)),
        (1, 3, 4, 4),
        0,
        6,
    ),
    "batch norm of one dimension": (
        statistics(nn.BatchNorm1d(8), 3, weight=torch.ones(3), bias=torch.ones(3)),
        (2, 3),
        0,
        6,
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_layer_with_other_tensors_is_counted_by_them(name):
    layer, shape, macs, parameters = CHANGED[name]
    x = torch.zeros(shape)
    layer = copy.deepcopy(layer).eval()
    with FlopCounterMode(display=False) as flops:
        out = layer(x)
    cost = count(layer, x)
    assert cost.macs == macs == flops.get_total_flops() // 2
    assert cost.parameters == parameters == sum(row.parameters for row in cost.layers)
    assert cost.layers[-1].output == tuple(out.shape)


def test_a_pruned_network_is_the_smaller_one():
    net = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 10))
    held(net[0], weight=torch.ones(100, 784), bias=torch.ones(100))
    held(net[2], weight=torch.ones(10, 100))
    same = nn.Sequential(nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))
    assert count(net, (784,)) == count(same, (784,))


whole = torch.ones(2, 3, 4, 4, dtype=torch.int64)
REFUSED = {
    "a bias of another length": (held(nn.Linear(3, 4), bias=torch.ones(3)), torch.ones(2, 3)),
    "a bias of another type": (held(nn.Linear(3, 4), bias=torch.ones(4).double()), torch.ones(2, 3)),
    "filters without their bias": (
        held(nn.Conv2d(3, 4, 3), weight=torch.ones(2, 3, 3, 3)),
        torch.ones(1, 3, 5, 5),
    ),
    "filters that the groups do not divide": (noted(nn.Conv2d(4, 6, 3), groups=4), torch.ones(1, 16, 5, 5)),
    "weights of a sequence for a picture": (
        held(nn.Conv2d(3, 4, 3), weight=torch.ones(4, 3, 3)),
        torch.ones(1, 3, 5, 5),
    ),
    "no groups": (noted(nn.Conv2d(3, 4, 3), groups=0), torch.ones(1, 3, 5, 5)),
    "a stride of nothing": (noted(nn.Conv2d(3, 4, 3), stride=(0, 1)), torch.ones(1, 3, 5, 5)),
    "padding below nothing": (noted(nn.Conv2d(3, 4, 3), padding=(-1, 0)), torch.ones(1, 3, 5, 5)),
    "a picture for one dimension": (nn.BatchNorm1d(3), torch.ones(2, 3, 4, 4)),
    "a picture without its batch": (nn.BatchNorm2d(3), torch.ones(3, 4, 4)),
    "a picture for three dimensions": (nn.BatchNorm3d(3), torch.ones(2, 3, 4, 4)),
    "statistics of other channels": (statistics(nn.BatchNorm2d(3), 5), torch.ones(2, 3, 4, 4)),
    "a scale of other channels": (held(nn.BatchNorm2d(3), weight=torch.ones(5)), torch.ones(2, 3, 4, 4)),
    "whole numbers to normalise": (nn.BatchNorm2d(3, affine=False), whole),
    "whole numbers to activate": (nn.GELU(), whole),
    "a picture for a dropout of one dimension": (nn.Dropout1d(), torch.ones(2, 3, 4, 4)),
    "a share above one": (noted(nn.Dropout(), p=2.0), torch.ones(2, 3)),
    "recurrent biases of other sizes": (held(nn.GRU(3, 4), bias_hh_l0=torch.ones(9)), torch.ones(2, 3)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_torch_refuses_is_not_answered(name):
    layer, x = REFUSED[name]
    layer = copy.deepcopy(layer).eval()
    with pytest.raises((RuntimeError, ValueError)):
        layer(x)
    with pytest.raises(ShapeError):
        count(layer, x)


@pytest.mark.parametrize(("layer", "made"), [(nn.ReLU(), torch.int64), (nn.Sigmoid(), torch.float32)])
def test_whole_numbers_that_torch_takes_are_counted(layer, made):
    """A sigmoid makes fractions of them, which a linear layer takes."""
    after = nn.Linear(4, 2) if made.is_floating_point else nn.Flatten()
    cost = count(nn.Sequential(layer, after), whole)
    assert cost.layers[0].output == (2, 3, 4, 4)
    assert cost.macs == (2 * 3 * 4 * 4 * 2 if made.is_floating_point else 0)


@pytest.mark.parametrize("layer", [nn.Dropout(), nn.Identity()])
def test_whole_numbers_that_pass_through_are_counted(layer):
    assert count(nn.Sequential(layer, nn.Embedding(3, 5)), whole).layers[0].output == (2, 3, 4, 4, 5)


def test_statistics_in_more_bits_than_maps_are_counted_without_numbers():
    cost = count(nn.BatchNorm2d(3), torch.ones(2, 3, 4, 4, dtype=torch.bfloat16))
    assert (cost.device, cost.other_operations) == ("meta", 2 * 96)


def test_a_doubt_names_its_layer():
    network = nn.Sequential(nn.Linear(3, 3), held(nn.Linear(3, 4), bias=torch.ones(4).double()))
    with pytest.raises(ShapeError, match=r"^1 \(Linear\) does not take its input of shape \(1, 3\)"):
        count(network, (3,))
    with torch.device("meta"):
        alone = nn.Sequential(held(nn.Conv2d(3, 4, 3), bias=torch.empty(5)))
    with pytest.raises(ShapeError, match=r"^0 \(Conv2d\).*do not fit"):
        count(alone, (3, 8, 8))
