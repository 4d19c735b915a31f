"""From the predictions of all members to one consensus cost per sample.

The gradient contract:
  * the term of edge i<-j is weight[i][j] * cost(l_i, l_j); l_j is a constant in it where detach[i][j];
  * terms are summed over edges and over classes; nothing is averaged here, the loop averages over the batch;
  * a weight of 0 is no edge: nothing is computed, so that no 0 * inf can leak.
For two members with both edges and l2, member i receives weight * 2 (l_i - l_j), as from Noel 2017's one
undirected term. The summed value is then twice that term; ``per_edge`` gives the number to report.
"""

from collections.abc import Callable, Sequence
from math import log

import torch
from torch import Tensor

from concord.consensus.costs import PairCost
from concord.consensus.edges import Edges
from concord.errors import ShapeError

Consensus = Callable[[Sequence[Tensor], Tensor | None, Edges], Tensor]


def check(logits: Sequence[Tensor], edges: Edges) -> None:
    """ShapeError unless all members give one (B, K): torch would silently broadcast (3, 4) against (1, 4)."""
    if len(logits) != edges.members:
        raise ShapeError(f"the edges are for {edges.members} members, got logits of {len(logits)}")
    if len({x.shape for x in logits}) != 1 or logits[0].ndim != 2:
        raise ShapeError(f"members must agree on one shape (B, K), got {[tuple(x.shape) for x in logits]}")


def pairwise(cost: PairCost) -> Consensus:
    """sum over edges i<-j of weight[i][j] cost(l_i, l_j).

    With ``blend``: sum over i of mass_i cost(l_i, sum_j weight[i][j] l_j / mass_i).

    Shape: M times (B, K) -> (B,)
    """

    def consensus(logits: Sequence[Tensor], labels: Tensor | None, edges: Edges) -> Tensor:
        check(logits, edges)
        total = logits[0].new_zeros(len(logits[0]))
        for i in edges.visits:
            for weight, peer in _peers(i, logits, edges):
                total = total + weight * cost(logits[i], peer)
        return total

    return consensus


def _peers(i: int, logits: Sequence[Tensor], edges: Edges) -> list[tuple[float, Tensor]]:
    """Weight and logits of whatever member i learns from."""
    peers = [
        (edges.weight[i][j], logits[j].detach() if edges.detach[i][j] else logits[j])
        for j in edges.visits
        if edges.weight[i][j]
    ]
    if not (edges.blend and peers):
        return peers
    mass = edges.mass(i)
    return [(mass, torch.stack([w / mass * peer for w, peer in peers]).sum(0))]


def per_edge(cost: Tensor, edges: Edges) -> Tensor:
    """Mean of the summed cost over the weight of all edges: for one pair the cost of Noel 2017 itself."""
    total = sum(edges.mass(i) for i in range(edges.members))
    return cost / total if total else cost


def ensemble_logits(logits: Sequence[Tensor]) -> Tensor:
    """Mean of logits, the prediction of Noel 2017's ensembles. Shape: M times (B, K) -> (B, K)"""
    return torch.stack(list(logits)).mean(0)


def ensemble_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """ln of the mean of probabilities. Shape: M times (B, K) -> (B, K)"""
    stacked = torch.stack(list(logits)).log_softmax(-1)  # (M, B, K)
    return stacked.logsumexp(0) - log(len(logits))
