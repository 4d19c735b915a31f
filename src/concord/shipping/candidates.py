"""The networks under the limits, by exact cost: of every family the widest that there is room for."""

from collections.abc import Sequence
from dataclasses import dataclass

from concord.cost.record import times
from concord.errors import ShapeError, UsageError
from concord.runs.costs import cost_of
from concord.shipping.families import FAMILIES, Family
from concord.shipping.limits import Limits, Needs, shown

Shape = tuple[int, int, int]
EXACT = ("parameters", "macs", "bytes")


@dataclass(frozen=True)
class Candidate:
    """One network of a family, and what it needs."""

    network: str
    family: Family
    needs: Needs

    @property
    def place(self) -> int:
        """Among the networks of the family, the narrowest first."""
        return self.family.networks.index(self.network)


@dataclass(frozen=True)
class Shop:
    """The networks that take pictures of this shape and name this number of classes."""

    shape: Shape
    classes: int
    families: Sequence[Family] = FAMILIES

    def candidate(self, family: Family, place: int) -> Candidate | None:
        """The network at that place, priced; None if it does not take these pictures."""
        network = family.networks[place]
        try:
            cost = cost_of(network, self.shape, classes=self.classes).cost
        except ShapeError:
            return None
        return Candidate(network, family, Needs(cost.parameters, cost.macs, cost.file_bytes()))

    def widest(self, family: Family, limits: Limits, most: int | None = None) -> Candidate | None:
        """The widest network of the family under the limits, found by bisection; None if there is none.

        ``most``: look only among so many of the narrowest.
        """
        if min(self.shape[1:]) < family.least_side:
            return None
        low, high = 0, len(family.networks) if most is None else most
        found = None
        while low < high:
            middle = (low + high) // 2
            tried = self.candidate(family, middle)
            if tried is None:
                return None
            if limits.over(tried.needs):
                high = middle
            else:
                found, low = tried, middle + 1
        return found

    def partner(self, candidate: Candidate, factor: float) -> Candidate:
        """The narrowest of the family with at least ``factor`` times the MACs, else its widest."""
        found = candidate
        for place in range(candidate.place + 1, len(candidate.family.networks)):
            wider = self.candidate(candidate.family, place)
            if wider is None:
                break
            found = wider
            if wider.needs.macs >= factor * candidate.needs.macs:
                break
        return found

    def fitting(self, limits: Limits) -> list[Candidate]:
        """The widest of each family that has one under the limits."""
        found = [self.widest(family, limits) for family in self.families]
        return [one for one in found if one is not None]

    def under(self, limits: Limits) -> list[Candidate]:
        """The same; UsageError that says what the smallest networks need if there is none."""
        candidates = self.fitting(limits)
        if not candidates:
            raise UsageError(self._why(limits))
        return candidates

    def _why(self, limits: Limits) -> str:
        """Why no network is under the limits: one of them is too tight, or they contradict each other."""
        sides = min(self.shape[1:])
        tried = [self.candidate(family, 0) for family in self.families if family.least_side <= sides]
        least = [one for one in tried if one is not None]
        about = f"pictures of {times(self.shape)}"
        if not least:
            return f"no family of networks takes {about}: give another size of the pictures"
        for name in EXACT:
            most, smallest = limits.given().get(name), _smallest(least, name)
            need = getattr(smallest.needs, name)
            if most is not None and need > most:
                return (
                    f"no network is under the limit of {shown(name, most)}: for {about} and"
                    f" {self.classes} classes the smallest, {smallest.network}, needs {shown(name, need)}."
                    " Give a larger limit"
                )
        return f"the limits contradict each other for {about}: {limits}. {_conflict(least, limits)}"


def _smallest(candidates: Sequence[Candidate], name: str) -> Candidate:
    """The one that needs the least of it."""
    return min(candidates, key=lambda one: getattr(one.needs, name))


def _conflict(least: Sequence[Candidate], limits: Limits) -> str:
    """Each limit has a network under it: which one, and what it is over."""
    parts = []
    for name, most in limits.given().items():
        if name in EXACT:
            smallest = _smallest(least, name)
            over = ", ".join(shown(n, getattr(smallest.needs, n)) for n in limits.over(smallest.needs))
            parts.append(f"{smallest.network} is under {shown(name, most)}, but needs {over}")
    return f"{'; '.join(dict.fromkeys(parts))}. Give a larger limit"
