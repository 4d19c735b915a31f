"""Train several networks at once: one update per ``next``.

``train`` hands back what happened; printing, plotting, saving, changing the learning rate and stopping early
are done by whoever iterates. It never names an architecture: a member is any ``nn.Module``. What modules of a
member may ask of it stands in ``contract``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from concord.consensus.objective import per_edge
from concord.errors import DivergedError, UsageError
from concord.tasks.task import Tree
from concord.training import agreement, contract
from concord.training.batch import Batch, batches_of, joined
from concord.training.cohort import Cohort, Pass
from concord.training.foreign import backward, blamed, step

Weight = Callable[[int], float]


@dataclass(frozen=True)
class Step:
    """What one update did. All tensors are detached and on the CPU."""

    index: int
    losses: Tensor  # (M,) mean loss of each member, without consensus; of x and x' if there is an adversary
    consensus: Tensor  # () mean consensus cost per sample and edge, before weighting
    weight: float
    outputs: tuple[Tree, ...] = field(repr=False)  # of each member, on the inputs as they came
    targets: tuple[Tree, ...] = field(
        repr=False
    )  # of each member; one object for all if row b is the same sample for all
    samples: int  # B, of each member


@dataclass(frozen=True)
class Rule:
    """How an update is made.

    ``alternating``: each member in turn, which meets its peers with the weights that they have by then.
    ``clip`` bounds the gradient norm of each member by itself. ``most`` bounds the samples of one pass: a
    larger batch goes in parts whose gradients are added up, in less memory and with the same result but for
    rounding where samples do not meet in the network, as they do in batch normalisation; an alternating
    update ignores it. ``after`` is called with the index after every update of the weights.
    """

    alternating: bool = False
    clip: float | None = None
    most: int | None = None
    after: Callable[[int], None] = lambda index: None


def train(
    cohort: Cohort,
    batches: Iterable[Batch | Sequence[Tree]],
    optimizer: torch.optim.Optimizer,
    *,
    weight: float | Weight = 0.0,
    rule: Rule = Rule(),
    start: int = 0,
) -> Iterator[Step]:
    """Minimise  sum_i mean_b loss(f_i(x), y) + weight mean_b consensus(f_1(x), ..., f_M(x)).

    ``batches`` are Batches, or pairs (x, y) as a DataLoader gives them. A ``weight`` of 0 is the plain
    ensemble: the consensus is not computed, and every member gets bit for bit the weights that it would get
    alone. ``start`` is the index of the first update. With an adversary in the cohort the loss of a member is
    that of ``agreement.hardened``; members agree on the inputs as they came.

    Raises UsageError if the optimizer lacks a parameter that learns. Raises DivergedError, with the members
    named, in place of an update with a loss that is not a number: then weights and the optimizer's state are
    as before it, while running statistics have seen the batch. In an alternating update the members before
    the one that is named have had their turn.
    """
    require_all(cohort.members, optimizer)
    outside = _outside(cohort.members, optimizer)
    for index, batch in enumerate(batches_of(batches), start):
        for member in cohort.networks():  # a teacher, which learns nothing, stays in evaluation mode
            set_mode(member)
        if any(parameter.requires_grad for parameter in outside):  # set free since
            require_all(cohort.members, optimizer)
        alpha = weight(index) if callable(weight) else weight
        update = in_turn if rule.alternating else at_once
        yield update(cohort, batch, optimizer, alpha, index, rule)


def set_mode(member: nn.Module) -> None:
    """A member that learns is in training mode, but for parts that its factory left in evaluation mode."""
    if not any(p.requires_grad for p in member.parameters()):
        if member.training:
            member.eval()
    elif not any(module.training for module in member.modules()):
        member.train()
    else:
        member.training = True


def require_all(members: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> None:
    """UsageError that names the member whose parameters no group of the optimizer has."""
    there = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for name, member in members.items():
        missing = [n for n, p in member.named_parameters() if p.requires_grad and id(p) not in there]
        if missing:
            raise UsageError(
                f"the optimizer does not have {len(missing)} of the parameters of member {name!r}, such as"
                f" {missing[0]}; make it of the parameters of all members, or freeze those with"
                " requires_grad_(False)"
            )


def _outside(members: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Parameters that no group of the optimizer has."""
    there = {id(p) for group in optimizer.param_groups for p in group["params"]}
    return [p for member in members.values() for p in member.parameters() if id(p) not in there]


def at_once(
    cohort: Cohort, batch: Batch, optimizer: torch.optim.Optimizer, weight: float, index: int, rule: Rule
) -> Step:
    """One update in which every member meets its peers as they were before it."""
    optimizer.zero_grad()
    done = []
    for n, part in enumerate(batch.parts(rule.most)):
        share = part.samples / batch.samples
        losses, cost, outputs = together(Pass(cohort, index, n), part, weight)
        # fetched here, not after the backward pass, which a GPU would have to finish first
        own, consensus, *rows = fetched([losses, cost, *outputs])
        if n == 0:
            targets = _targets(batch, len(cohort))
        check(own, consensus, weight, cohort.names, index)
        total = share * (losses.sum() + weight * cost)
        if total.requires_grad:  # members may freeze themselves
            backward(total, cohort.names, index)
        done.append((share * own, share * consensus, rows))
    apply(cohort, cohort.names, optimizer, rule, index)
    parts, costs, pieces = zip(*done, strict=True)
    whole = tuple(joined(list(each)) for each in zip(*pieces, strict=True))
    consensus = per_edge(torch.stack(costs).sum(), cohort.edges)
    return Step(index, torch.stack(parts).sum(0), consensus, weight, whole, targets, batch.samples)


def together(run: Pass, batch: Batch, weight: float) -> tuple[Tensor, Tensor, list[Tree]]:
    """Mean losses, mean consensus cost and outputs of all members. Shape: -> (M,), (), M outputs"""
    everyone = range(len(run.cohort))
    given = run.outputs(batch)
    means = [_loss(run, i, given[i], batch.of(i)[1]) for i in everyone]
    losses = torch.stack([agreement.hardened(run, i, batch, means[i]) for i in everyone])
    outputs = [run.together(i, given[i]) for i in everyone]
    cost = agreement.shared(run, batch, outputs) if weight else losses.new_zeros(())
    return losses, cost, outputs


def _loss(run: Pass, i: int, output: Tree, y: Tree) -> Tensor:
    """Mean loss of member i; an output that the task cannot take is its fault."""
    name, member = run.cohort.names[i], run.cohort.networks()[i]
    with blamed(name, member, f"at update {run.index}, with its output"):
        return contract.losses(member, run.cohort.task, output, y).mean()


def in_turn(
    cohort: Cohort, batch: Batch, optimizer: torch.optim.Optimizer, weight: float, index: int, rule: Rule
) -> Step:
    """One update of each member in turn; it meets its peers with the weights that they have by then.

    Source: Y. Zhang et al., "Deep mutual learning", CVPR 2018, algorithm 1.
    """
    run, task = Pass(cohort, index), cohort.task
    losses, costs, outputs = [], [], []
    for i in range(len(cohort)):
        x, y = batch.of(i)
        given = run.output(i, x)
        loss = _loss(run, i, given, y)
        output = run.together(i, given)
        cost = loss.new_zeros(())
        if weight:
            cost = agreement.alone(run, i, batch, task.compare(output, y))
        loss = agreement.hardened(run, i, batch, loss)
        check(loss[None], cost, weight, cohort.names[i : i + 1], index)
        optimizer.zero_grad()  # to None, so that the optimizer passes over all other members
        total = loss + weight * cost
        if total.requires_grad:
            backward(total, cohort.names[i : i + 1], index)
            apply(cohort, cohort.names[i : i + 1], optimizer, rule, index)
        losses.append(loss.detach())
        costs.append(cost.detach())
        outputs.append(output)
    own, consensus, *rows = fetched([torch.stack(losses), torch.stack(costs).sum(), *outputs])
    targets = _targets(batch, len(cohort))
    consensus = per_edge(consensus, cohort.edges)
    return Step(index, own, consensus, weight, tuple(rows), targets, batch.samples)


def check(losses: Tensor, cost: Tensor, weight: float, names: Sequence[str], index: int) -> None:
    """DivergedError, with the members named, if a loss or the consensus cost is not a number.

    So it is if the cost times its weight is none.
    """
    cost = cost.detach()
    if torch.cat([losses.detach(), (weight * cost)[None]]).isfinite().all():
        return
    bad = [name for name, finite in zip(names, losses.isfinite().tolist(), strict=True) if not finite]
    times = f" times its weight {weight:g}" if cost.isfinite() else ""
    what = f"the loss of {', '.join(bad)}" if bad else f"the consensus cost of {', '.join(names)}{times}"
    raise DivergedError(
        f"update {index}: {what} is not a finite number. Nothing was learned from it, and checkpoints made"
        " before are intact. A smaller learning rate, a smaller consensus weight or gradient clipping usually"
        " helps",
        bad,
    )


def apply(
    cohort: Cohort, names: Sequence[str], optimizer: torch.optim.Optimizer, rule: Rule, index: int
) -> None:
    """Clip each member's gradient by its own norm, then update: members stay independent of each other.

    Those of ``names`` are updated, and may then change their parameters, see ``contract``.
    """
    if rule.clip is not None:
        for member in cohort.networks():
            _clip(member, rule.clip)
    step(optimizer, index)
    for name in names:
        contract.after_update(name, cohort.members[name], index)
    rule.after(index)


def _clip(member: nn.Module, most: float) -> None:
    """Scale the gradient down to that norm. A gradient whose norm overflows becomes NaN, not 0.

    0 would be an update that learns nothing, which nobody sees; NaN is found when parameters are looked at.
    """
    gradients = [p.grad for p in member.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    norm = torch.where(norm.isfinite(), norm, torch.nan)
    nn.utils.clip_grads_with_norm_(member.parameters(), most, norm)


def fetched(trees: Sequence[Tree]) -> list[Tree]:
    """Detached copies on the CPU."""
    leaves, spec = tree_flatten(list(trees))
    return tree_unflatten([leaf.detach().cpu() for leaf in leaves], spec)


def _targets(batch: Batch, members: int) -> tuple[Tree, ...]:
    """Targets of every member on the CPU; one object that several members have stays one."""
    given = [batch.of(i)[1] for i in range(members)]
    copies = {key: fetched([target])[0] for key, target in {id(t): t for t in given}.items()}
    return tuple(copies[id(target)] for target in given)
