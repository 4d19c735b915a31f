"""Candidates under limits: by exact cost, against a search through all of them; and why there are none."""

from itertools import pairwise

import pytest

from concord.errors import UsageError
from concord.runs.costs import cost_of
from concord.shipping.candidates import Shop
from concord.shipping.families import FAMILIES, Family
from concord.shipping.limits import Limits

SHAPE, CLASSES = (1, 8, 8), 10
CHOSEN = tuple(family for family in FAMILIES if family.name in ("noel2017_st", "preact_resnet20"))


def spent(network):
    return cost_of(network, SHAPE, classes=CLASSES).cost


@pytest.mark.parametrize("family", CHOSEN, ids=lambda family: family.name)
@pytest.mark.parametrize(
    "limits", [Limits(parameters=20_000), Limits(macs=300_000), Limits(9_000, 10**6, 50_000), Limits()]
)
def test_the_widest_is_that_of_a_search_through_all(family, limits):
    costs = {network: spent(network) for network in family.networks}
    fits = [
        network
        for network, cost in costs.items()
        if cost.parameters <= (limits.parameters or 10**12)
        and cost.macs <= (limits.macs or 10**12)
        and cost.file_bytes() <= (limits.bytes or 10**12)
    ]
    found = Shop(SHAPE, CLASSES).widest(family, limits)
    assert found.network == fits[-1]
    assert (found.needs.parameters, found.needs.macs) == (costs[fits[-1]].parameters, costs[fits[-1]].macs)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_family_ascends_in_all_that_it_needs(family):
    side = max(family.least_side, 32)
    costs = [cost_of(name, (3, side, side), classes=4).cost for name in family.networks[:6]]
    for one, wider in pairwise(costs):
        assert one.parameters < wider.parameters
        assert one.macs < wider.macs


def test_a_partner_has_at_least_that_many_times_the_macs_and_is_the_first_that_has():
    shop = Shop(SHAPE, CLASSES, CHOSEN)
    small = shop.widest(CHOSEN[0], Limits(parameters=5_000))
    partner = shop.partner(small, 3.0)
    before = shop.candidate(partner.family, partner.place - 1)
    assert partner.needs.macs >= 3 * small.needs.macs > before.needs.macs


def test_the_widest_of_a_family_is_its_own_partner():
    family = Family("one", ("noel2017_st(filters=2)",))
    shop = Shop(SHAPE, CLASSES, [family])
    only = shop.candidate(family, 0)
    assert shop.partner(only, 3.0) == only


def test_a_family_that_does_not_take_the_pictures_is_passed_over():
    shop = Shop((1, 9, 9), CLASSES)  # Noel's networks take sides that are multiples of 4
    names = {one.family.name for one in shop.under(Limits())}
    assert "noel2017_st" not in names
    assert "preact_resnet20" in names
    assert "mobilenet_v1" not in names  # for pictures of 64 pixels and more


def test_a_limit_that_nothing_meets_names_the_smallest_network_and_its_need():
    with pytest.raises(UsageError) as refused:
        Shop(SHAPE, CLASSES, CHOSEN).under(Limits(parameters=100, macs=10**9))
    smallest = min((spent(family.networks[0]).parameters, family.networks[0]) for family in CHOSEN)
    assert "no network is under the limit of 100 parameters" in str(refused.value)
    assert f"the smallest, {smallest[1]}, needs {smallest[0]:,} parameters" in str(refused.value)


def test_limits_that_contradict_say_which_network_meets_which():
    lean = Family("lean", ("noel2017_st(filters=2)",))
    quick = Family("quick", ("noel2017_st(bricks=1, filters=5)",))
    few, fast = spent("noel2017_st(bricks=1, filters=5)"), spent("noel2017_st(filters=2)")
    assert few.parameters < fast.parameters
    assert few.macs > fast.macs
    with pytest.raises(UsageError) as refused:
        Shop(SHAPE, CLASSES, [lean, quick]).under(Limits(few.parameters, fast.macs))
    text = str(refused.value)
    assert text.startswith("the limits contradict each other")
    assert (
        f"noel2017_st(filters=2) is under {fast.macs:,} MACs, but needs {fast.parameters:,} parameters"
        in text
    )
