"""Train several networks at once: one update per ``next``.

``train`` hands back what happened; printing, plotting, saving, changing the learning rate and stopping early
are done by whoever iterates. It never names an architecture: a member is any ``nn.Module``.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus, per_edge
from concord.errors import DivergedError
from concord.training import agreement
from concord.training.agreement import Adversarial, Batch, Cohort, Task

Weight = Callable[[int], float]


@dataclass(frozen=True)
class Step:
    """What one update did. All tensors are detached and on the CPU."""

    index: int
    losses: Tensor  # (M,) mean loss of each member, without consensus; of x and x' if there is an adversary
    consensus: Tensor  # () mean consensus cost per sample and edge, before weighting
    weight: float
    logits: tuple[Tensor, ...]  # M times (B, K), on the inputs as they came
    targets: tuple[Tensor, ...]  # M times (B,)


def train(
    members: Sequence[nn.Module],
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    *,
    task: Task,
    consensus: Consensus,
    edges: Edges,
    weight: float | Weight,
    alternating: bool = False,
    precision: Sequence[torch.dtype] | None = None,
    clip: float | None = None,
    seeds: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    adversarial: Adversarial | None = None,
    stacks: Sequence[Sequence[int]] = (),
    most: int | None = None,
    start: int = 0,
) -> Iterator[Step]:
    """Minimise  sum_i mean_b loss(f_i(x), y) + weight mean_b consensus(f_1(x), ..., f_M(x)).

    A ``weight`` of 0 is the plain ensemble: the consensus is not computed, and every member gets bit for bit
    the weights that it would get alone. ``seeds`` makes dropout of member i at update s a function of
    (seeds[i], s). ``clip`` bounds the gradient norm of each member by itself. ``start`` is the index of the
    first update. Terms of a pairwise consensus are added up in the order of ``names``, so that members in
    another order end with the same weights bit for bit. With ``adversarial`` the loss of a member is that of
    ``agreement.hardened``; members agree on the inputs as they came. ``stacks`` are groups of members of one
    architecture, without dropout, whose outputs are computed in one pass: faster where a pass for each leaves
    the device idle, equal but for rounding. ``most`` bounds the samples of one pass: a larger batch goes in
    parts whose gradients are added up, in less memory and with the same result but for rounding where samples
    do not meet in the network, as they do in batch normalisation. An alternating update knows neither.

    Raises DivergedError, with the members named, in place of an update with a loss that is no number: then
    weights and the optimiser's state are as before it, while running statistics have seen the batch. In an
    alternating update the members before the one that is named have had their turn.
    """
    called = names or [f"member {i}" for i in range(len(members))]
    edges = replace(edges, order=tuple(sorted(range(len(members)), key=lambda i: called[i])))
    precise = precision or [torch.float32] * len(members)
    cohort = Cohort(members, called, task, consensus, edges, precise, seeds, adversarial, stacks)
    for index, batch in enumerate(batches, start):
        for member in members:  # a teacher, which learns nothing, stays in evaluation mode
            member.train(any(p.requires_grad for p in member.parameters()))
        alpha = weight(index) if callable(weight) else weight
        if alternating:
            yield in_turn(cohort, batch, optimizer, alpha, index, clip)
        else:
            yield at_once(cohort, batch, optimizer, alpha, index, clip, most)


def at_once(
    cohort: Cohort,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    weight: float,
    index: int,
    clip: float | None,
    most: int | None,
) -> Step:
    """One update in which every member meets its peers as they were before it."""
    optimizer.zero_grad()
    done = []
    for n, part in enumerate(batch.parts(most)):
        share = len(part.targets[0]) / len(batch.targets[0])
        losses, cost, logits = together(replace(cohort, part=n), part, weight, index)
        # fetched here, not after the backward pass, which a GPU would have to finish first
        told, between, *heard = fetched([z.detach() for z in (losses, cost, *logits)])
        if n == 0:
            targets = fetched([batch.of(i)[1] for i in range(len(cohort))])
        check(told, between, cohort.names, index)
        (share * (losses.sum() + weight * cost)).backward()
        done.append((share * told, share * between, heard))
    apply(cohort, optimizer, clip)
    parts, costs, said = zip(*done, strict=True)
    whole = [torch.cat(pieces) for pieces in zip(*said, strict=True)]
    return record(cohort, targets, index, torch.stack(parts).sum(0), torch.stack(costs).sum(), weight, whole)


def together(cohort: Cohort, batch: Batch, weight: float, index: int) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Mean losses, mean consensus cost and predictions of all members. Shape: -> (M,), (), M times (B, K)"""
    everyone = range(len(cohort))
    outputs = cohort.outputs(batch, index)
    means = [cohort.task.loss(outputs[i], batch.of(i)[1]).mean() for i in everyone]
    losses = torch.stack([agreement.hardened(cohort, i, batch, means[i], index) for i in everyone])
    logits = [cohort.task.predictions(output) for output in outputs]
    cost = agreement.shared(cohort, batch, logits, index) if weight else losses.new_zeros(())
    return losses, cost, logits


def in_turn(
    cohort: Cohort,
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    weight: float,
    index: int,
    clip: float | None,
) -> Step:
    """One update of each member in turn; it meets its peers with the weights that they have by then.

    Source: Y. Zhang et al., "Deep mutual learning", CVPR 2018, algorithm 1.
    """
    losses, costs, logits = [], [], []
    for i in range(len(cohort)):
        x, y = batch.of(i)
        output = cohort.output(i, x, index)
        loss, own = cohort.task.loss(output, y).mean(), cohort.task.predictions(output)
        cost = loss.new_zeros(())
        if weight:
            cost = agreement.alone(cohort, i, batch, own, index)
        loss = agreement.hardened(cohort, i, batch, loss, index)
        check(loss[None], cost, cohort.names[i : i + 1], index)
        optimizer.zero_grad()  # to None, so that the optimizer passes over all other members
        total = loss + weight * cost
        if total.requires_grad:
            total.backward()
            apply(cohort, optimizer, clip)
        losses.append(loss.detach())
        costs.append(cost.detach())
        logits.append(own.detach())
    targets = [batch.of(i)[1] for i in range(len(cohort))]
    return record(cohort, targets, index, torch.stack(losses), torch.stack(costs).sum(), weight, logits)


def check(losses: Tensor, cost: Tensor, names: Sequence[str], index: int) -> None:
    """DivergedError, with the members named, if a loss or the consensus cost is no number."""
    if torch.cat([losses.detach(), cost.detach()[None]]).isfinite().all():
        return
    bad = [name for name, finite in zip(names, losses.isfinite().tolist(), strict=True) if not finite]
    what = f"the loss of {', '.join(bad)}" if bad else f"the consensus cost of {', '.join(names)}"
    raise DivergedError(
        f"update {index}: {what} is not a finite number. Nothing was learned from it, and checkpoints made"
        " before are intact. A smaller learning rate, a smaller consensus weight or train.clip usually helps",
        bad,
    )


def apply(cohort: Cohort, optimizer: torch.optim.Optimizer, clip: float | None) -> None:
    """Clip each member's gradient by its own norm, then update: members stay independent of each other."""
    if clip is not None:
        for member in cohort.members:
            nn.utils.clip_grad_norm_(member.parameters(), clip)
    optimizer.step()


def record(
    cohort: Cohort,
    targets: Sequence[Tensor],
    index: int,
    losses: Tensor,
    cost: Tensor,
    weight: float,
    logits: Sequence[Tensor],
) -> Step:
    """The Step that tells what happened."""
    told, between, *said = fetched([z.detach() for z in (losses, cost, *logits)])
    return Step(index, told, per_edge(between, cohort.edges), weight, tuple(said), tuple(fetched(targets)))


def fetched(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same on the CPU; one that stands there twice stays one, as labels that all members share do."""
    copies = {key: tensor.cpu() for key, tensor in {id(t): t for t in tensors}.items()}
    return [copies[id(tensor)] for tensor in tensors]
