"""What members say, and what it costs that they differ.

The labelled batch is where members compare predictions; if they have samples of their own, each compares on
its own with its peers' predictions made for the purpose. Unlabelled images add a second term of the same
kind.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus
from concord.training import stacked
from concord.training.seeding import mix, seeded

Sample = Tensor | tuple[Tensor, ...]  # a tuple is what a member with several inputs takes, in its order


class Task(Protocol):
    """What the loop asks of a task: a loss per sample, and what members compare."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor: ...  # -> (B,)
    def predictions(self, output: Tensor) -> Tensor: ...  # -> (B, K)


class Batch(NamedTuple):
    """Inputs and targets of one update: one of each for all members, or one per member.

    Members compare predictions only when row b is the same sample for all of them. ``aligned`` says so: true
    for a shared batch and for several views of the same images, false when every member has samples of its
    own.
    """

    inputs: tuple[Sample, ...]  # each (B, C, H, W), or for example ((B, C, H, W), (B, T))
    targets: tuple[Tensor, ...]  # each (B,)
    aligned: bool = True
    unlabelled: Sample | None = None  # (U, C, H, W), on which members only agree

    def of(self, member: int) -> tuple[Sample, Tensor]:
        """Inputs and targets of one member."""
        x = self.inputs[member if len(self.inputs) > 1 else 0]
        y = self.targets[member if len(self.targets) > 1 else 0]
        return x, y

    def parts(self, most: int | None) -> "list[Batch]":
        """The batch in parts of nearly equal size, at most so many samples each, all unlabelled ones in all.

        From 3 on no part has a single sample, of which batch normalisation has no statistics.
        """
        count = 1 if most is None else -(-len(self.targets[0]) // most)
        if count == 1:
            return [self]
        inputs = zip(*(_chunks(x, count) for x in self.inputs), strict=True)
        targets = zip(*(y.tensor_split(count) for y in self.targets), strict=True)
        return [self._replace(inputs=x, targets=y) for x, y in zip(inputs, targets, strict=True)]


def _chunks(x: Sample, count: int) -> "Sequence[Sample]":
    if isinstance(x, Tensor):
        return x.tensor_split(count)
    return list(zip(*(part.tensor_split(count) for part in x), strict=True))


class Craft(Protocol):
    """Makes the inputs x' of member ``i`` at update ``index``: near x, and with a larger ``loss``.

    ``loss`` is what the member is trained on, one number per sample, (B, C, H, W) -> (B,). The result must be
    a function of the arguments alone, or resuming is not exact.
    """

    def __call__(self, i: int, loss: Callable[[Sample], Tensor], x: Sample, index: int) -> Sample: ...


@dataclass(frozen=True)
class Adversarial:
    """Train on share J(x) + (1 - share) J(x') in place of J(x)."""

    craft: Craft
    share: float = 0.5


@dataclass(frozen=True)
class Cohort:
    """Members in training together, and what binds them."""

    members: Sequence[nn.Module]
    names: Sequence[str]
    task: Task
    consensus: Consensus
    edges: Edges
    precision: Sequence[torch.dtype]  # of each member
    seeds: Sequence[int] | None
    adversarial: Adversarial | None = None
    stacks: Sequence[Sequence[int]] = ()  # members of one architecture that are computed in one pass
    part: int = 0  # of a batch that goes in several

    def __len__(self) -> int:
        return len(self.members)

    def draw(self, index: int) -> int:
        """What random numbers of update ``index`` depend on: each part of its batch has its own."""
        return mix(index, -1 - self.part) if self.part else index

    def outputs(self, batch: Batch, index: int) -> list[Tensor]:
        """Outputs of all members on their samples at update ``index``."""
        found: dict[int, Tensor] = {}
        for group in self.stacks:
            found |= self._stacked(group, batch)
        return [found[i] if i in found else self.output(i, batch.of(i)[0], index) for i in range(len(self))]

    def _stacked(self, group: Sequence[int], batch: Batch) -> dict[int, Tensor]:
        members = [self.members[i] for i in group]
        given = batch.inputs if len(batch.inputs) == 1 else [batch.inputs[i] for i in group]
        home, here = home_of(members[0], given[0]), device_of(given[0])
        with _computing(home, self.precision[group[0]]):
            said = stacked.outputs(members, [moved(x, home) for x in given])
        return {i: output.to(here) for i, output in zip(group, said, strict=True)}

    def output(self, i: int, x: Sample, index: int) -> Tensor:
        """Output of member i at update ``index``; its dropout is a function of (seeds[i], index) alone."""
        seed = None if self.seeds is None else mix(self.seeds[i], self.draw(index))
        with seeded(seed, home_of(self.members[i], x)):
            return ask(self.members[i], x, self.precision[i])


def ask(member: nn.Module, x: Sample, precision: torch.dtype) -> Tensor:
    """What a member gives for x, computed where the member lies and in that precision, given where x lies."""
    home = home_of(member, x)
    with _computing(home, precision):
        return member(*moved(x, home)).to(device_of(x))


def _computing(device: torch.device, precision: torch.dtype) -> AbstractContextManager[object]:
    """Autocast to that precision; float32 leaves everything as it is."""
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def home_of(member: nn.Module, x: Sample) -> torch.device:
    """Where a member lies: with its first parameter, or with x if it has none."""
    return next((p.device for p in member.parameters()), device_of(x))


def moved(x: Sample, device: torch.device) -> tuple[Tensor, ...]:
    """The tensors of a sample on that device."""
    return tuple(part.to(device) for part in (x if isinstance(x, tuple) else (x,)))


def device_of(x: Sample) -> torch.device:
    """Where a sample lies: its first tensor says it for all."""
    return x[0].device if isinstance(x, tuple) else x.device


def hardened(cohort: Cohort, i: int, batch: Batch, loss: Tensor, index: int) -> Tensor:
    """share J(x) + (1 - share) J(x') of member i, where ``loss`` is J(x), a mean over the batch.

    Source: I. J. Goodfellow, J. Shlens, C. Szegedy, "Explaining and harnessing adversarial examples", 2014,
    section 6, where the share is 0.5.

    J is one function, so x' is made, and learned from, with the dropout that x met, in training mode. Making
    it moves no running statistics; learning from it does, as from any batch. A member that learns nothing is
    not attacked.

    Shape: loss () -> ()
    """
    if cohort.adversarial is None or not loss.requires_grad:
        return loss
    x, y = batch.of(i)

    def per_sample(inputs: Sample) -> Tensor:
        return cohort.task.loss(cohort.output(i, inputs, index), y)

    with buffers_kept([cohort.members[i]]):
        changed = cohort.adversarial.craft(i, per_sample, x, cohort.draw(index))
    share = cohort.adversarial.share
    return share * loss + (1 - share) * per_sample(changed).mean()


def shared(cohort: Cohort, batch: Batch, logits: Sequence[Tensor], index: int) -> Tensor:
    """Mean consensus cost per sample when all members have just predicted. Shape: M times (B, K) -> ()"""
    if batch.aligned:
        cost = cohort.consensus(logits, batch.targets[0], cohort.edges).mean()
    else:
        parts = [labelled(cohort, i, batch, own, index) for i, own in enumerate(logits)]
        cost = torch.stack(parts).sum()
    return cost + unlabelled(cohort, batch, range(len(cohort)), index)


def alone(cohort: Cohort, i: int, batch: Batch, own: Tensor, index: int) -> Tensor:
    """Mean cost per sample of the edges into member i, which alone receives gradient.

    Shape: own (B, K) -> ()
    """
    return labelled(cohort, i, batch, own, index) + unlabelled(cohort, batch, [i], index)


def labelled(cohort: Cohort, i: int, batch: Batch, own: Tensor, index: int) -> Tensor:
    """The part of ``alone`` on the samples of member i, about which all others are asked now.

    All others, not only its peers: a KDCL target is made of everyone. Shape: own (B, K) -> ()
    """
    edges = cohort.edges.into([i])
    if not edges.mass(i):
        return own.new_zeros(())
    x, y = batch.of(i)
    views = [batch.of(j)[0] if batch.aligned else x for j in range(len(cohort))]
    with buffers_kept([m for j, m in enumerate(cohort.members) if j != i]), torch.no_grad():
        said = [own if j == i else predict(cohort, j, view, index) for j, view in enumerate(views)]
    return cohort.consensus(said, y, edges).mean()


def unlabelled(cohort: Cohort, batch: Batch, learners: Sequence[int], index: int) -> Tensor:
    """Mean cost of the edges into the learners on unlabelled images, with gradient for them only.

    0 without images. Shape: -> ()
    """
    edges = cohort.edges.into(learners)
    if batch.unlabelled is None or not edges.pairs():
        return torch.zeros((), device=device_of(batch.inputs[0]))
    said = []
    with buffers_kept(cohort.members):
        for i in range(len(cohort)):
            with torch.set_grad_enabled(i in learners):
                said.append(predict(cohort, i, batch.unlabelled, index))
    return cohort.consensus(said, None, edges).mean()


def predict(cohort: Cohort, i: int, x: Sample, index: int) -> Tensor:
    """What member i says about x, as members compare it. Shape: (B, C, H, W) -> (B, K)"""
    return cohort.task.predictions(cohort.output(i, x, index))


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
