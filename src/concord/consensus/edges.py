"""Who learns from whom: a matrix of weights, one per directed edge.

Edge i<-j means that member i learns from member j. ``weight[i][j]`` is its weight, 0 where there is no edge.
``detach[i][j]`` says whether j is held constant on that edge (the default): then only i receives its
gradient. Two directed edges with detach give exactly the gradients of one undirected pair, so a pair of
Noel 2017 is two edges, and every asymmetry is a matter of the matrix.

Source: J. Noel, 2017, section 5.2 (chain of consecutive models); Y. Zhang et al., CVPR 2018, section 3.3 (all
pairs).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from concord.errors import UsageError, suggestion

Matrix = tuple[tuple[float, ...], ...]
Scale = Literal["sum", "mass1", "noel"]


@dataclass(frozen=True)
class Edges:
    """``weight[i][j]`` of edge i<-j; ``detach[i][j]``: j receives no gradient from it.

    With ``blend`` a member meets the weighted mean of its peers' logits once, instead of each peer in turn.
    ``order`` is the order in which terms are added up: without it, that of the rows.
    """

    weight: Matrix
    detach: tuple[tuple[bool, ...], ...]
    blend: bool = False
    order: tuple[int, ...] | None = None

    @property
    def members(self) -> int:
        return len(self.weight)

    @property
    def visits(self) -> Sequence[int]:
        """All members, in the order in which their terms are added up."""
        return range(self.members) if self.order is None else self.order

    def mass(self, i: int) -> float:
        """Total weight with which member i learns from others: sum_j weight[i][j]."""
        return sum(self.weight[i])

    def pairs(self) -> set[frozenset[int]]:
        """Members {i, j} that an edge joins, in one direction or both."""
        return {frozenset((i, j)) for i, row in enumerate(self.weight) for j, w in enumerate(row) if w}

    def without(self, members: Iterable[int]) -> "Edges":
        """The edges that neither begin nor end at these members."""
        out = set(members)
        rows = tuple(
            tuple(0.0 if {i, j} & out else w for j, w in enumerate(row)) for i, row in enumerate(self.weight)
        )
        return replace(self, weight=rows)

    def placed(self, places: Sequence[int], members: int) -> "Edges":
        """The same edges where member n is number ``places[n]`` of ``members``; nothing joins the others."""
        weight = [[0.0] * members for _ in range(members)]
        detach = [[True] * members for _ in range(members)]
        for i, row in zip(places, range(self.members), strict=True):
            for j, column in zip(places, range(self.members), strict=True):
                weight[i][j] = self.weight[row][column]
                detach[i][j] = self.detach[row][column]
        return replace(self, weight=tuple(map(tuple, weight)), detach=tuple(map(tuple, detach)))

    def into(self, learners: Iterable[int]) -> "Edges":
        """The edges into these members alone."""
        chosen, none = set(learners), (0.0,) * self.members
        rows = tuple(row if i in chosen else none for i, row in enumerate(self.weight))
        return replace(self, weight=rows)


def table(weight: Sequence[Sequence[float]], detach: bool | Sequence[Sequence[bool]] = True) -> Edges:
    """Edges from any M x M table with an empty diagonal and no negative or non-finite weight."""
    m = len(weight)
    rows = tuple(tuple(float(w) for w in row) for row in weight)
    if any(len(row) != m for row in rows):
        raise UsageError(
            f"edges must be a square table, got rows of {[len(row) for row in rows]} for {m} members"
        )
    for i, row in enumerate(rows):
        if row[i]:
            raise UsageError(f"a member cannot learn from itself: edges[{i}][{i}] = {row[i]:g}, expected 0")
        if not all(0 <= w < float("inf") for w in row):
            raise UsageError(f"edge weights must be finite and at least 0, got {list(row)} in row {i}")
    return Edges(rows, _detach(detach, m))


def _detach(detach: bool | Sequence[Sequence[bool]], m: int) -> tuple[tuple[bool, ...], ...]:
    if isinstance(detach, bool):
        return ((detach,) * m,) * m
    if len(detach) != m or any(len(row) != m for row in detach):
        raise UsageError(f"detach must be true, false or a table of {m} rows and {m} columns")
    return tuple(tuple(bool(d) for d in row) for row in detach)


def _from(m: int, edge: Callable[[int, int], bool]) -> Matrix:
    return tuple(tuple(float(i != j and edge(i, j)) for j in range(m)) for i in range(m))


def matched(m: int, pairs: Sequence[tuple[int, int]]) -> Matrix:
    """Both directions of the given pairs, nothing else."""
    both = {*pairs, *((j, i) for i, j in pairs)}
    return _from(m, lambda i, j: (i, j) in both)


def random_matching(m: int, seed: int, epoch: int) -> Matrix:
    """Members paired at random, anew every epoch; a pure function of (seed, epoch).

    With odd m one sits out.
    """
    order = list(range(m))
    Random(f"matching/{seed}/{epoch}").shuffle(order)
    return matched(m, list(zip(order[::2], order[1::2], strict=False)))


def disagreement_matching(disagreement: Sequence[Sequence[float]]) -> Matrix:
    """The pairing whose members disagree most in total (maximum weight matching), from an M x M table."""
    import networkx as nx

    graph = nx.Graph()
    for i, row in enumerate(disagreement):
        for j in range(i):
            graph.add_edge(i, j, weight=row[j])
    return matched(len(disagreement), sorted(nx.max_weight_matching(graph, maxcardinality=True)))


SHAPES: dict[str, Callable[[int], Matrix]] = {
    "chain": lambda m: _from(m, lambda i, j: abs(i - j) == 1),
    "all": lambda m: _from(m, lambda i, j: True),
    "ring": lambda m: _from(m, lambda i, j: (i - j) % m in (1, m - 1)),
    # the first member is the centre
    "star": lambda m: _from(m, lambda i, j: 0 in (i, j)),
    # each learns from the next, the last one from labels only
    "one_way": lambda m: _from(m, lambda i, j: j == i + 1),
    # each meets the mean of all others, once
    "mean": lambda m: _from(m, lambda i, j: True),
}


def shape(name: str, members: int, detach: bool | Sequence[Sequence[bool]] = True) -> Edges:
    """The edges of a named shape, or UsageError naming the shapes there are. Weights are 1.

    Only in ``mean``, where M - 1 peers are met as one, each weighs 1 / (M - 1).
    """
    if name not in SHAPES:
        raise UsageError(f"no edges {name!r}{suggestion(name, SHAPES)}; there are: {', '.join(SHAPES)}")
    edges = table(SHAPES[name](members), detach)
    return replace(_of_mass_one(edges), blend=True) if name == "mean" else edges


def scaled(edges: Edges, scale: Scale, cost: str) -> Edges:
    """Weights in one of three conventions.

    sum: as given. mass1: each member's incoming weights sum to 1. noel: as the code of Noel 2017, where
    cross entropies are summed over pairs but l2 and l1 are averaged over them, so that only the latter are
    divided.
    """
    if scale == "mass1":
        return _of_mass_one(edges)
    if scale == "noel" and cost in ("l2", "l1"):
        pairs = max(len(edges.pairs()), 1)
        return replace(edges, weight=tuple(tuple(w / pairs for w in row) for row in edges.weight))
    return edges


def _of_mass_one(edges: Edges) -> Edges:
    weight = tuple(tuple(w / (sum(row) or 1.0) for w in row) for row in edges.weight)
    return replace(edges, weight=weight)
