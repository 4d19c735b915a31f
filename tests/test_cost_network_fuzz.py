"""Receptive fields of random networks beside the gradient of every unit: 100 of them, 500 with --soak."""

import random

import pytest
import torch
from fuzz_made import drawn_network, largest_fields

from concord.cost.count import count
from concord.errors import ShapeError

SHORT, SOAK = 100, 500


class Shown(torch.nn.Module):
    """A network, and one operation whose row shows the field of its output, also where that is a view."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x) * 3


def tried(seed):
    """The field, the largest part of each axis that a unit sees, and the input; None if nothing is local."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    net, shape = drawn_network(rng)
    try:
        field = count(Shown(net), shape).receptive_field
    except ShapeError:
        return None
    if field is None or field.type != "mul":
        return None
    axes = [f.source[1] for f in field.fields if f is not None]
    return seed, net, shape, field, axes, largest_fields(net, shape, axes)


def faults(seed, net, shape, field, axes, largest):
    """An axis is exact if all are; where others are not, it is so if units see anything of these."""
    known = all(f.exact for f in field.fields if f is not None)
    exact = [f.exact and (known or 0 not in largest) for f in field.fields if f is not None]
    if field.exact and list(field.size) != list(largest):
        yield f"seed {seed}: exactly {field.size}, but {largest} of {shape}: {net}"
    for size, known, axis, seen in zip(field.seen, exact, axes, largest, strict=True):
        extent = shape[axis - 1]
        if size > extent or size < seen or (known and size != seen):
            word = "exactly" if known else "at most"
            yield f"seed {seed}, axis {axis}: {word} {size}, but {seen} of {extent}: {net}"


def check(seeds):
    found = [one for one in map(tried, seeds) if one is not None]
    assert [fault for one in found for fault in faults(*one)] == []
    return len(found), sum(all(f.exact for f in one[3].fields if f is not None) for one in found)


def test_the_field_of_a_random_network_is_the_largest_that_one_of_its_units_has():
    found, exact = check(range(SHORT))
    assert found > SHORT / 2
    assert exact > found / 2


@pytest.mark.soak
def test_the_same_of_many_networks():
    found, exact = check(range(1000, 1000 + SOAK))
    assert found > SOAK / 2
    assert exact > found / 2
