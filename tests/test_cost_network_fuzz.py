"""Receptive fields of random networks beside the gradient of every unit: 40 of them, 500 with --soak."""

import random

import pytest
import torch
from torch import nn

from concord.cost.count import count
from concord.errors import ShapeError

SHORT, SOAK = 40, 500


def drawn(rng):
    """A layer of a chain over (C, T); all of them keep one channel or make two of it."""
    k, s, d = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 3)
    p = rng.choice([0, 0, k // 2])
    return rng.choice(
        [
            lambda: nn.Conv1d(1, 1, k, s, p, d),
            lambda: nn.Conv1d(1, 1, k, padding="same", dilation=d),
            lambda: nn.ConvTranspose1d(1, 1, k, s),
            lambda: nn.AvgPool1d(k, s, p, ceil_mode=rng.random() < 0.5),
            lambda: nn.MaxPool1d(k, s, p, dilation=d, ceil_mode=rng.random() < 0.5),
            lambda: nn.AdaptiveAvgPool1d(rng.randint(2, 12)),
            lambda: nn.Upsample(scale_factor=rng.choice([2, 3, 1.5]), mode="nearest"),
            lambda: nn.Upsample(size=rng.randint(5, 40), mode=rng.choice(["nearest", "linear"])),
            lambda: nn.ConstantPad1d((rng.randint(0, 3), rng.randint(0, 3)), 0.0),
            lambda: nn.BatchNorm1d(1),
        ]
    )()


class Summed(nn.Module):
    """Two branches of one stride that are added, cut to the shorter one."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other = one, other

    def forward(self, x):
        a, b = self.one(x), self.other(x)
        length = min(a.shape[-1], b.shape[-1])
        return a[..., :length] + b[..., :length]


def network(rng):
    layers = [drawn(rng) for _ in range(rng.randint(1, 5))]
    if rng.random() < 0.3:
        layers.insert(
            rng.randrange(len(layers) + 1),
            Summed(nn.Conv1d(1, 1, rng.randint(1, 4)), nn.Conv1d(1, 1, rng.randint(1, 3), dilation=2)),
        )
    net = nn.Sequential(*layers).eval()
    for parameter in net.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1  # all positive: no two paths cancel
    return net


def averaging(net):
    """The same with a convolution for each maximum, whose gradient reaches one position alone."""

    class Mean(nn.Module):
        def __init__(self, pool):
            super().__init__()
            self.pool = pool

        def forward(self, x):
            pool, length = self.pool, self.pool(x).shape[-1]
            y = nn.functional.pad(x, (pool.padding, pool.padding + pool.kernel_size * pool.dilation))
            kernel = torch.ones(1, 1, pool.kernel_size, dtype=x.dtype)
            return nn.functional.conv1d(y, kernel, None, pool.stride, 0, pool.dilation)[..., :length]

    return nn.Sequential(*(Mean(m) if isinstance(m, nn.MaxPool1d) else m for m in net))


def regions(net, length):
    """First and last position of the input with a gradient, for each unit of the output that has one."""
    x = torch.rand(1, 1, length, dtype=torch.float64).add(0.5).requires_grad_()
    found = []
    for unit in net.double()(x)[0].sum(0):
        if not unit.requires_grad:
            continue
        places = torch.autograd.grad(unit, x, retain_graph=True)[0][0, 0].nonzero()[:, 0].tolist()
        if places:
            found.append((places[0], places[-1]))
    return found


def tried(seed):
    """What the count says of a network, and the regions of its units; None if it takes no such input."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    length = rng.randint(12, 60)
    net = network(rng)
    try:
        cost = count(net, (1, length))
    except ShapeError:
        return None
    if not cost.receptive_fields:
        return None
    return cost.receptive_field, regions(averaging(net), length), length, net


def faults(field, units, length, net):
    if not units:
        return []
    size = field.size[0]
    largest = max(last - first + 1 for first, last in units)
    if largest > size:
        return [f"{size}, but a unit sees {largest} of {length}: {net}"]
    if field.exact and largest < size and not _reads_beyond(net):
        return [f"exactly {size}, but no unit sees more than {largest} of {length}: {net}"]
    return []


def _reads_beyond(net):
    """Whether some window reads past an end of its map: the size is that of a unit which no border cuts."""
    padded = any(getattr(m, "padding", 0) not in (0, (0,), (0, 0)) for m in net.modules())
    return padded or any(getattr(m, "ceil_mode", False) or isinstance(m, nn.ConvTranspose1d) for m in net)


def check(seeds):
    found = [one for one in map(tried, seeds) if one is not None]
    assert [fault for one in found for fault in faults(*one)] == []
    return found


def test_no_random_network_sees_more_than_its_field_and_none_is_called_exact_that_is_not():
    found = check(range(SHORT))
    assert len(found) > SHORT / 2
    assert sum(field.exact for field, *_ in found) > SHORT / 4


@pytest.mark.soak
def test_the_same_of_many_networks():
    assert len(check(range(1000, 1000 + SOAK))) > SOAK / 2
