"""Candidates and the time that there is for them, on machines of known speed."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

import concord
from concord.errors import StoppedError
from concord.shipping import entrants, plan
from concord.shipping.asked import Asked
from concord.shipping.budget import Full, Halving, Rung
from concord.shipping.candidates import Shop
from concord.shipping.families import FAMILIES
from concord.shipping.limits import Limits, Needs
from concord.shipping.material import read
from concord.shipping.pace import Pace
from concord.training.observer import SILENT

KEPT = ("noel2017_st", "preact_resnet20")


@pytest.fixture(scope="module")
def material():
    return read(concord.Data(source="digits"), lambda: False)


@pytest.fixture
def shop():
    return Shop((1, 8, 8), 10, tuple(family for family in FAMILIES if family.name in KEPT))


def timed(monkeypatch, rates):
    """Machines on which a million MACs of an epoch of a family take that many seconds."""

    def pace(candidate, material, threads):
        seconds = rates[candidate.family.name] * candidate.needs.macs / 1e6
        return Pace(seconds / 21, 0.0, 0.0, 0.0)  # 21 updates an epoch

    monkeypatch.setattr(entrants, "_pace", pace)
    monkeypatch.setattr(entrants, "_threads", lambda candidate, material: 1)


def found(material, shop, hours, limits=None, stop=lambda: False):
    asked = Asked(material.data, limits or Limits(parameters=50_000), hours)
    return {
        one.candidate.family.name: one
        for one in entrants.entrants_of(asked, material, shop, SILENT, stop).entrants
    }


def test_with_enough_time_every_candidate_is_the_widest_under_the_limits(material, shop, monkeypatch):
    timed(monkeypatch, dict.fromkeys(KEPT, 1.0))
    widest = {one.family.name: one.network for one in shop.under(Limits(parameters=50_000))}
    assert {name: one.name for name, one in found(material, shop, 100).items()} == widest


def test_a_slow_family_alone_is_narrowed_to_what_gets_enough_epochs(material, shop, monkeypatch):
    """Half of 0.1 hours are 180 s, 12 s for each of 15 epochs: 40 s for a million MACs leave 300,000."""
    timed(monkeypatch, {"noel2017_st": 40.0, "preact_resnet20": 0.01})
    both = found(material, shop, 0.1)
    widest = {one.family.name: one for one in shop.under(Limits(parameters=50_000))}
    assert both["preact_resnet20"].name == widest["preact_resnet20"].network
    slow = both["noel2017_st"].candidate
    wider = shop.candidate(slow.family, slow.place + 1)
    assert slow.needs.macs <= 300_000 < wider.needs.macs
    assert slow.needs.macs < widest["noel2017_st"].needs.macs


def test_none_is_narrowed_below_a_quarter_of_its_macs(material, shop, monkeypatch):
    timed(monkeypatch, dict.fromkeys(KEPT, 1e6))
    widest = {one.family.name: one for one in shop.under(Limits(parameters=50_000))}
    for name, one in found(material, shop, 0.1).items():
        wider = shop.candidate(one.candidate.family, one.candidate.place + 1)
        assert wider.needs.macs > widest[name].needs.macs / 4


def test_after_a_tenth_of_the_hours_two_files_are_enough(material, shop, monkeypatch):
    """Each file takes 20 s on this clock, and the tenth is 18 s; a file has 100 bytes and the parameters."""
    clock = [0.0]

    def with_file(candidate, interface):
        clock[0] += 20
        return replace(candidate, needs=replace(candidate.needs, bytes=100 + candidate.needs.parameters))

    timed(monkeypatch, dict.fromkeys([one.name for one in FAMILIES], 1e-9))
    monkeypatch.setattr(entrants, "with_file", with_file)
    monkeypatch.setattr(entrants.time, "perf_counter", lambda: clock[0])
    three = Shop(shop.shape, shop.classes, FAMILIES[:3])
    asked = Asked(material.data, Limits(bytes=30_000), 0.05)
    found = entrants.entrants_of(asked, material, three, SILENT, lambda: False)
    assert [one.candidate.family.name for one in found.entrants] == [one.name for one in FAMILIES[:2]]
    assert list(found.left_out) == [three.widest(FAMILIES[2], Limits(bytes=30_000)).network]


def test_an_entrant_goes_through_plain_data(material, shop, monkeypatch):
    timed(monkeypatch, dict.fromkeys(KEPT, 1.0))
    for one in found(material, shop, 1).values():
        assert entrants.Entrant.of(one.plain()) == one


def test_a_stop_while_planning_says_so(material, shop, monkeypatch):
    timed(monkeypatch, dict.fromkeys(KEPT, 1.0))
    with pytest.raises(StoppedError, match="stopped while planning; nothing was trained"):
        found(material, shop, 1, stop=lambda: True)


def test_one_thread_is_taken_where_it_is_faster(material, shop, monkeypatch):
    paces = {1: 0.1, 8: 0.3}
    monkeypatch.setattr(
        entrants, "_pace", lambda candidate, material, threads: SimpleNamespace(update=paces[threads])
    )
    monkeypatch.setattr(entrants.torch, "get_num_threads", lambda: 8)
    assert entrants._threads(None, material) == 1
    paces[8] = 0.05
    assert entrants._threads(None, material) == 8


def test_the_disk_that_is_planned_by_hand():
    """48 bytes of each of 40 + 30 + 4 (30 + 100) parameters; seven runs, 28 epochs, 15 lists of 7 x 5."""
    few, many = (SimpleNamespace(candidate=SimpleNamespace(needs=Needs(n, 1, 1))) for n in (10, 30))
    shop = SimpleNamespace(partner=lambda candidate, factor: SimpleNamespace(needs=Needs(100, 1, 1)))
    material = SimpleNamespace(
        interface=SimpleNamespace(classes="abcde"), splits=SimpleNamespace(test=range(7))
    )
    search = Halving(("many", "few"), (Rung(2, 3), Rung(1, 6)), 0.0)
    most = plan._disk([many, few], search, Full(("plain", "once"), 4, 0.0), shop, material)
    assert most == 48 * 590 + 7 * 150_000 + 28 * 2_000 + 15 * 4 * 35
