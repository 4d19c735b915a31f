"""Candidates that are under the limits and that there is time for, each with its pace on this machine."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch

from concord.errors import StoppedError, UsageError
from concord.runs.config import Member
from concord.runs.watching import Stop
from concord.shipping import budget
from concord.shipping.asked import Asked
from concord.shipping.budget import Line
from concord.shipping.candidates import Candidate, Shop
from concord.shipping.families import FAMILIES
from concord.shipping.limits import Limits, Needs, shown
from concord.shipping.material import Material
from concord.shipping.onnx_trial import MEMBER, with_file
from concord.shipping.pace import Pace, Work, measured
from concord.shipping.recipe import config_of
from concord.training.observer import Observer

MOST = 6  # candidates
EPOCHS = 1000  # of a configuration of which only a moment is run
PLANNING = 0.1  # share of the hours for the plan, after which no more candidates are timed
HALF = 0.5  # of the hours, in which a candidate alone should get ``budget.ENOUGH`` epochs
UNTIMED = "a tenth of the hours went into the plan before its turn"
LEAST = 0.25  # of the MACs of the widest candidate, below which none is narrowed


@dataclass(frozen=True)
class Entrant:
    """A candidate, and how fast it trains by itself."""

    candidate: Candidate
    pace: Pace
    line: Line

    @property
    def name(self) -> str:
        return self.candidate.network

    def plain(self) -> dict[str, Any]:
        """The same as plain data."""
        needs, pace = asdict(self.candidate.needs), asdict(self.pace)
        seconds = {"fixed": self.line.fixed, "epoch": self.line.epoch, **pace}
        return {"network": self.name, "family": self.candidate.family.name, **needs, "seconds": seconds}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> "Entrant":
        """The entrant that ``plain`` wrote down."""
        family = next(one for one in FAMILIES if one.name == plain["family"])
        needs = Needs(*(plain[field.name] for field in fields(Needs)))
        seconds = plain["seconds"]
        pace = Pace(seconds["update"], seconds["image"], seconds["save"], seconds.get("start", 0.0))
        return cls(Candidate(plain["network"], family, needs), pace, Line(seconds["fixed"], seconds["epoch"]))


@dataclass(frozen=True)
class Timed:
    """The number of threads that train fastest here, the candidates, and why others were not timed."""

    threads: int
    entrants: tuple[Entrant, ...]
    left_out: Mapping[str, str]


def entrants_of(asked: Asked, material: Material, shop: Shop, observer: Observer, stop: Stop) -> Timed:
    """The candidates, timed as long as there is time for it; UsageError if no network is under the limits."""
    until = time.perf_counter() + PLANNING * asked.seconds
    candidates, left_out = _under(asked.limits, shop, material, stop, until)
    cheapest = min(candidates, key=lambda one: one.needs.macs)
    threads = _threads(cheapest, material)
    known = _timed(cheapest, material, threads)
    found: list[Entrant] = []
    for candidate in candidates:
        _heed(stop)
        if len(found) > 1 and time.perf_counter() > until:
            left_out[candidate.network] = UNTIMED
            continue
        fastest = max([known, *found], key=lambda one: one.candidate.needs.macs / one.line.epoch)
        entrant = _entrant(candidate, fastest, asked, shop, material, threads)
        if entrant.name not in [one.name for one in found]:
            found.append(entrant)
            observer.notice(_line(entrant))
    for name, why in left_out.items():
        observer.notice(f"without {name}: {why}")
    return Timed(threads, tuple(found), left_out)


def _entrant(
    candidate: Candidate, fastest: Entrant, asked: Asked, shop: Shop, material: Material, threads: int
) -> Entrant:
    """The candidate as wide as there is time for: at the best speed seen so far, then at its own."""
    first = _timed(_affordable(candidate, fastest, asked, shop, material), material, threads)
    own = _affordable(candidate, first, asked, shop, material)
    return first if own.network == first.name else _timed(own, material, threads)


def _heed(stop: Stop) -> None:
    if stop():
        raise StoppedError("stopped while planning; nothing was trained, and the same command starts over")


def _line(entrant: Entrant) -> str:
    needs = entrant.candidate.needs
    parts = [shown("parameters", needs.parameters), shown("macs", needs.macs)]
    if needs.milliseconds is not None:
        parts += [shown("bytes", needs.bytes), shown("milliseconds", needs.milliseconds)]
    return f"candidate {entrant.name}: {', '.join(parts)}; {entrant.line.epoch:.2g} s an epoch"


def _under(
    limits: Limits, shop: Shop, material: Material, stop: Stop, until: float
) -> tuple[list[Candidate], dict[str, str]]:
    """At most ``MOST`` candidates under all limits, and why others were left out.

    They are exported where bytes or milliseconds are limited; after ``until``, by the clock, two are enough.
    """
    if not limits.needs_a_file:
        return shop.under(limits)[:MOST], {}
    found: list[Candidate] = []
    smallest: list[Candidate] = []
    left_out: dict[str, str] = {}
    for candidate in _by_numbers(limits, shop, material):
        _heed(stop)
        if len(found) > 1 and time.perf_counter() > until:
            left_out[candidate.network] = UNTIMED
            continue
        fitting, least = _with_file(candidate, limits, shop, material, until)
        smallest.append(least)
        if fitting is not None:
            found.append(fitting)
        if len(found) == MOST:
            break
    if not found:
        raise UsageError(_no_file(smallest, limits))
    return found, left_out


def _by_numbers(limits: Limits, shop: Shop, material: Material) -> list[Candidate]:
    """Those under the limits as far as their numbers decide; UsageError with the smallest file if none is."""
    found = shop.fitting(limits)
    if found or limits.bytes is None:
        return found or shop.under(limits)
    narrow = [shop.candidate(one.family, 0) for one in shop.under(replace(limits, bytes=None))]
    smallest: Candidate | None = None
    for one in sorted(filter(None, narrow), key=_bytes):
        if smallest is None or one.needs.bytes < smallest.needs.bytes:  # a file is larger than its numbers
            smallest = min(filter(None, (smallest, with_file(one, material.interface))), key=_bytes)
    assert smallest is not None
    raise UsageError(_no_file([smallest], limits))


def _bytes(candidate: Candidate) -> int:
    return candidate.needs.bytes


def _with_file(
    candidate: Candidate, limits: Limits, shop: Shop, material: Material, until: float
) -> tuple[Candidate | None, Candidate]:
    """The widest network of the family whose file is under the limits, and the smallest that was measured.

    Half of what is left is tried each time: a file takes seconds to make. After ``until``, by the clock, the
    first one that fits is taken.
    """
    low, high, place = -1, candidate.place + 1, candidate.place
    fitting: Candidate | None = None
    least = candidate
    while low < high - 1 and (fitting is None or time.perf_counter() < until):
        tried = shop.candidate(candidate.family, place)
        assert tried is not None
        tried = with_file(tried, material.interface)
        if limits.over(tried.needs):
            high, least = place, tried
        else:
            low, fitting = place, tried
        place = (low + high) // 2
    return fitting, fitting or least


def _no_file(smallest: list[Candidate], limits: Limits) -> str:
    """Which of the limits on the file no network is under."""
    for name in ("bytes", "milliseconds"):
        most = limits.given().get(name)
        least = min(smallest, key=lambda one: getattr(one.needs, name))
        need = getattr(least.needs, name)
        if most is not None and need > most:
            return (
                f"no network is under the limit of {shown(name, most)}: the ONNX file of the smallest,"
                f" {least.network}, needs {shown(name, need)}. Give a larger limit"
            )
    return f"the limits contradict each other: no network has an ONNX file with {limits}. Give larger limits"


def _affordable(
    candidate: Candidate, timed: Entrant, asked: Asked, shop: Shop, material: Material
) -> Candidate:
    """The candidate, or a narrower one of its family that gets enough epochs in half of the hours.

    The time of an epoch is taken to grow with the MACs, from the one that was timed before.
    """
    seconds = HALF * asked.seconds / budget.ENOUGH
    most = round(timed.candidate.needs.macs * seconds / timed.line.epoch)
    most = max(most, round(LEAST * candidate.needs.macs))
    if candidate.needs.macs <= most:
        return candidate
    tighter = replace(asked.limits, macs=most)
    found = shop.widest(candidate.family, tighter, candidate.place) or candidate
    return with_file(found, material.interface) if asked.limits.needs_a_file else found


def _timed(candidate: Candidate, material: Material, threads: int) -> Entrant:
    pace = _pace(candidate, material, threads)
    config = config_of(material, [Member(name=MEMBER, network=candidate.network)], epochs=1, threads=threads)
    work = Work.of(material, config.train.batch_size)
    return Entrant(candidate, pace, pace.line(work))


def _pace(candidate: Candidate, material: Material, threads: int) -> Pace:
    member = Member(name=MEMBER, network=candidate.network)
    return measured(config_of(material, [member], epochs=EPOCHS, threads=threads), material)


def _threads(candidate: Candidate, material: Material) -> int:
    """One thread or all of torch's, whichever makes an update faster now."""
    most = torch.get_num_threads()
    if most == 1:
        return 1
    paces = {number: _pace(candidate, material, number).update for number in (1, most)}
    return min(paces, key=lambda number: paces[number])
