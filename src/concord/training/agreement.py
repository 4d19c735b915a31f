"""What it costs that members differ.

The labelled batch is where members compare predictions; if they have samples of their own, each compares on
its own with its peers' predictions made for the purpose. Unlabelled samples add a second term of the same
kind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from concord.consensus.edges import Edges
from concord.tasks.task import Compared, Tree
from concord.training import contract
from concord.training.batch import Batch, count
from concord.training.cohort import Pass
from concord.training.devices import device_of


def hardened(run: Pass, i: int, batch: Batch, loss: Tensor) -> Tensor:
    """share J(x) + (1 - share) J(x') of member i, where ``loss`` is J(x), a mean over the batch.

    Source: I. J. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples", 2014,
    section 6, where the share is 0.5.

    J is one function, so x' is made, and learned from, with the dropout that x met, in training mode. Making
    it moves no running statistics; learning from it does, as from any batch. A member that learns nothing is
    not attacked.

    Shape: loss () -> ()
    """
    adversarial, task = run.cohort.adversarial, run.cohort.task
    if adversarial is None or not loss.requires_grad:
        return loss
    x, y = batch.of(i)
    member = run.cohort.networks()[i]

    def per_sample(inputs: Tree) -> Tensor:
        return contract.losses(member, task, run.output(i, inputs), y)

    with buffers_kept([member]):
        changed = adversarial.craft(i, per_sample, x, run.draw())
    return adversarial.share * loss + (1 - adversarial.share) * per_sample(changed).mean()


def mean_cost(run: Pass, compared: Sequence[Compared], edges: Edges, samples: int) -> Tensor:
    """sum_r weight_r cost_r / B over the rows that members compare. Shape: M times (R, K) -> ()"""
    rows = [one.rows for one in compared]
    cost = run.cohort.consensus(rows, compared[0].labels, edges)
    return (cost * compared[0].weights).sum() / samples


def shared(run: Pass, batch: Batch, outputs: Sequence[Tree]) -> Tensor:
    """Mean consensus cost per sample when all members have just predicted. Shape: -> ()"""
    cohort = run.cohort
    compared = [cohort.task.compare(output, batch.of(i)[1]) for i, output in enumerate(outputs)]
    if batch.aligned:
        cost = mean_cost(run, compared, cohort.edges, batch.samples)
    else:
        parts = [labelled(run, i, batch, own) for i, own in enumerate(compared)]
        cost = torch.stack(parts).sum()
    return cost + unlabelled(run, batch, range(len(cohort)))


def alone(run: Pass, i: int, batch: Batch, own: Compared) -> Tensor:
    """Mean cost per sample of the edges into member i, which alone receives gradient. Shape: -> ()"""
    return labelled(run, i, batch, own) + unlabelled(run, batch, [i])


def labelled(run: Pass, i: int, batch: Batch, own: Compared) -> Tensor:
    """The part of ``alone`` on the samples of member i, for which all others predict now.

    All others, not only its peers: a KDCL target is made of everyone. Shape: -> ()
    """
    cohort = run.cohort
    edges = cohort.edges.into([i])
    if not edges.mass(i):
        return own.rows.new_zeros(())
    x, y = batch.of(i)
    views = [batch.of(j)[0] if batch.aligned else x for j in range(len(cohort))]
    others = [member for j, member in enumerate(cohort.networks()) if j != i]
    with buffers_kept(others), torch.no_grad():
        compared = [own if j == i else run.compare(j, view, y) for j, view in enumerate(views)]
    return mean_cost(run, compared, edges, batch.samples)


def unlabelled(run: Pass, batch: Batch, learners: Sequence[int]) -> Tensor:
    """Mean cost of the edges into the learners on unlabelled samples, with gradient for them only.

    0 without such samples. Shape: -> ()
    """
    edges = run.cohort.edges.into(learners)
    if batch.unlabelled is None or not edges.pairs():
        return torch.zeros((), device=device_of(batch.inputs[0]))
    compared = []
    with buffers_kept(run.cohort.networks()):
        for i in range(len(run.cohort)):
            with torch.set_grad_enabled(i in learners):
                compared.append(run.compare(i, batch.unlabelled, None))
    return mean_cost(run, compared, edges, count(batch.unlabelled))


@contextmanager
def buffers_kept(members: Sequence[nn.Module]) -> Iterator[None]:
    """Predictions that serve agreement alone must not move running statistics.

    The saved values are put back by reference, since autograd may still need the buffers that were used.
    """
    kept = [(module, dict(module._buffers)) for member in members for module in member.modules()]
    for module, buffers in kept:
        module._buffers.update({k: None if b is None else b.clone() for k, b in buffers.items()})
    try:
        yield
    finally:
        for module, buffers in kept:
            module._buffers.update(buffers)
