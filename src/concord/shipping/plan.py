"""The plan of a search: its candidates, how fast each trains here, and what is run for how long."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from concord.errors import UsageError
from concord.runs.config import Member
from concord.runs.store import KEEP
from concord.runs.watching import Stop
from concord.shipping import budget
from concord.shipping.asked import HOUR, Asked
from concord.shipping.budget import Full, Halving, Line, Rung
from concord.shipping.candidates import Shop
from concord.shipping.entrants import EPOCHS, Entrant, entrants_of
from concord.shipping.material import Material
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.pace import Work, measured
from concord.shipping.recipe import config_of
from concord.training.observer import Observer

BESIDE = "partner"
SLOW = "the hours have no room for short runs of so slow a network"
PARTNER = 3.0  # times the MACs of the small network that its partner has
END = 15.0  # seconds for the export, its check, int8, latencies and the report, measured on two cores
BASELINE = 0.05  # share of the seconds for a classifier of scikit-learn
SAVED = (
    4 * 4 * (KEEP + 1)
)  # bytes of a parameter: value, average, two moments; the last checkpoints and the best
RUN, EPOCH = (
    150_000,
    2_000,
)  # bytes of a run whatever its size (names of tensors), and of the records of an epoch


@dataclass(frozen=True)
class Plan:
    """What is run, and what it takes. ``full`` is an estimate until the short runs are done."""

    threads: int
    entrants: tuple[Entrant, ...]
    halving: Halving
    full: Full
    spent: float  # seconds that the plan itself took
    seconds: float  # of everything, the plan among it
    bytes: int
    left_out: Mapping[str, str] = field(default_factory=dict)  # candidates that are not tried, and why

    @property
    def runs(self) -> int:
        return sum(rung.runs for rung in self.halving.rungs) + len(self.full.ways)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``--plan --json``, and of the key ``plan`` of results.json."""
        return {
            "runs": self.runs,
            "hours": self.seconds / HOUR,
            "bytes": self.bytes,
            "threads": self.threads,
            "planning_seconds": self.spent,
            "candidates": [one.plain() for one in self.entrants],
            "rungs": [asdict(rung) for rung in self.halving.rungs],
            "tried": list(self.halving.names),
            "left_out": dict(self.left_out),
            "search_seconds": self.halving.seconds,
            "ways": list(self.full.ways),
            "epochs": self.full.epochs,
            "full_seconds": self.full.seconds,
        }

    @classmethod
    def of(cls, plain: dict[str, Any]) -> "Plan":
        """The plan that ``to_dict`` wrote down."""
        return cls(
            plain["threads"],
            tuple(Entrant.of(row) for row in plain["candidates"]),
            Halving(
                tuple(plain["tried"]),
                tuple(Rung(row["runs"], row["epochs"]) for row in plain["rungs"]),
                plain["search_seconds"],
            ),
            Full(tuple(plain["ways"]), plain["epochs"], plain["full_seconds"]),
            plain["planning_seconds"],
            plain["hours"] * HOUR,
            plain["bytes"],
            plain.get("left_out", {}),
        )


def end_of(asked: Asked) -> float:
    """Seconds for what comes after the last training."""
    return END + BASELINE * asked.seconds


def plan_of(asked: Asked, material: Material, observer: Observer, stop: Stop) -> Plan:
    """Choose the candidates, time an update of each, and spread the hours over them.

    UsageError for limits that no network is under, and for hours that are too short for one candidate.
    """
    began = time.perf_counter()
    shop = Shop(material.interface.shape, len(material.interface.classes))
    timed = entrants_of(asked, material, shop, observer, stop)
    threads, entrants = timed.threads, timed.entrants
    spent = material.seconds + time.perf_counter() - began
    left = asked.seconds - spent - end_of(asked)
    lines = {one.name: one.line for one in entrants}
    search = budget.halving(lines, budget.SEARCH * left, left)
    slowest = max((one for one in entrants if one.name in search.names), key=lambda one: one.line.epoch)
    pair = paired(slowest.name, shop.partner(slowest.candidate, PARTNER).network, material, threads)
    spent = material.seconds + time.perf_counter() - began
    left = asked.seconds - spent - end_of(asked)
    full = budget.full(budget.lines_of_ways(slowest.line, pair), left - search.seconds)
    if full is None:
        fastest = min(entrants, key=lambda one: one.line.epoch)
        raise UsageError(_too_short(asked, fastest, spent))
    chosen = tuple(one for one in entrants if one.name in search.names)
    slow = {one.name: SLOW for one in entrants if one.name not in search.names}
    total = spent + search.seconds + full.seconds + end_of(asked)
    disk = _disk(chosen, search, full, shop, material)
    return Plan(threads, chosen, search, full, spent, total, disk, {**timed.left_out, **slow})


def paired(network: str, partner: str, material: Material, threads: int) -> Line:
    """Seconds of a run of the network beside its partner, both learning, from a moment of it."""
    pair = [Member(name=MEMBER, network=network), Member(name=BESIDE, network=partner)]
    config = config_of(material, pair, epochs=EPOCHS, threads=threads)
    return measured(config, material).line(Work.of(material, config.train.batch_size))


def _too_short(asked: Asked, fastest: Entrant, spent: float) -> str:
    """How long the shortest search would be."""
    need = fastest.line.seconds(budget.LEAST) + spent + END
    hours = 1.1 * need / (1 - BASELINE) / HOUR
    return (
        f"{asked.hours:g} hours are too short for one candidate: {budget.LEAST} epochs of {fastest.name},"
        f" which trains fastest of those that were timed, take {fastest.line.seconds(budget.LEAST):.0f}"
        f" seconds, the plan {spent:.0f} and the export about {END:.0f}. Give at least {hours:.2g} hours"
    )


def _disk(chosen: Sequence[Entrant], search: Halving, full: Full, shop: Shop, material: Material) -> int:
    """Most bytes of all runs, if the largest candidates stay and every way has its turn: checkpoints,
    records, predictions."""
    largest = sorted(chosen, key=lambda one: one.candidate.needs.parameters)
    sizes = [one.candidate.needs.parameters for one in largest]
    ways = len(budget.WAYS)
    partner = shop.partner(largest[-1].candidate, PARTNER).needs.parameters
    numbers = sum(sum(sizes[-rung.runs :]) for rung in search.rungs) + ways * (sizes[-1] + partner)
    short = sum(rung.runs for rung in search.rungs)
    epochs = sum(rung.runs * rung.epochs for rung in search.rungs) + ways * full.epochs
    predicted = 4 * len(material.interface.classes) * len(material.splits.test)
    runs = (short + ways) * RUN + epochs * EPOCH
    return SAVED * numbers + runs + predicted * (short + 3 * ways)
