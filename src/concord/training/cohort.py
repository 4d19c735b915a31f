"""Members in training together, and what binds them: one frozen value, made once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from concord.consensus.edges import Edges
from concord.consensus.objective import Consensus
from concord.errors import UsageError, amount
from concord.tasks.task import Compared, Task, Tree
from concord.training import contract, stacked
from concord.training.batch import Batch
from concord.training.devices import computing, copied, device_of, forward, home_of
from concord.training.foreign import blamed
from concord.training.seeding import mix, seeded


class Craft(Protocol):
    """Makes the inputs x' of member ``i`` at update ``index``: near x, and with a larger ``loss``.

    ``loss`` is what the member is trained on, one number per sample, (B, C, H, W) -> (B,). The result must be
    a function of the arguments alone, or resuming is not exact.
    """

    def __call__(self, i: int, loss: Callable[[Tree], Tensor], x: Tree, index: int) -> Tree: ...


@dataclass(frozen=True)
class Adversarial:
    """Train on share J(x) + (1 - share) J(x') in place of J(x)."""

    craft: Craft
    share: float = 0.5


@dataclass(frozen=True)
class Cohort:
    """Members in training together, and what binds them.

    ``seeds`` makes dropout of member i at update s a function of (seeds[i], s). Terms of a pairwise consensus
    are added up in the order of names, so that members in another order end with the same weights bit for
    bit. ``stacks`` are groups of members of one architecture, without dropout, whose outputs are computed in
    one pass: faster where a pass for each leaves the device idle, equal but for rounding.
    """

    members: Mapping[str, nn.Module]
    task: Task[Any]
    consensus: Consensus
    edges: Edges
    precision: Mapping[str, torch.dtype] | None = None  # of each member; None: float32
    seeds: Mapping[str, int] | None = None
    adversarial: Adversarial | None = None
    stacks: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.edges, Edges):
            raise UsageError(f"edges must be Edges, as concord.cohort makes them of {self.edges!r}")
        if self.edges.members != len(self.members):
            raise UsageError(
                f"edges for {amount(self.edges.members, 'member')}, but there are {len(self.members)}"
            )
        refuse_shared(self.members)
        if self.edges.order is None:
            names = list(self.members)
            order = tuple(sorted(range(len(names)), key=lambda i: names[i]))
            object.__setattr__(self, "edges", replace(self.edges, order=order))

    def __len__(self) -> int:
        return len(self.members)

    @property
    def names(self) -> list[str]:
        return list(self.members)

    def networks(self) -> list[nn.Module]:
        return list(self.members.values())

    def precision_of(self, name: str) -> torch.dtype:
        return torch.float32 if self.precision is None else self.precision[name]


def refuse_shared(members: Mapping[str, nn.Module]) -> None:
    """UsageError if two members are one module or have a tensor in common: each must learn by itself."""
    owner: dict[int, str] = {}
    for name, member in members.items():
        for part in (member, *member.parameters(), *member.buffers()):
            other = owner.setdefault(id(part), name)
            if other != name:
                raise UsageError(
                    f"members {other!r} and {name!r} are one module or share parameters; give each a module"
                    " of its own, for example copy.deepcopy(module)"
                )


@dataclass(frozen=True)
class Pass:
    """One pass of a cohort at update ``index``, over part ``part`` of its batch."""

    cohort: Cohort
    index: int
    part: int = 0

    def draw(self) -> int:
        """What random numbers of this pass depend on: each part of a batch has its own."""
        return mix(self.index, -1 - self.part) if self.part else self.index

    def outputs(self, batch: Batch) -> list[Tree]:
        """Outputs of all members on their samples."""
        names = self.cohort.names
        found: dict[int, Tree] = {}
        for group in self.cohort.stacks:
            found |= self._stacked([names.index(name) for name in group], batch)
        return [found[i] if i in found else self.output(i, batch.of(i)[0]) for i in range(len(names))]

    def _stacked(self, group: Sequence[int], batch: Batch) -> dict[int, Tree]:
        networks, names = self.cohort.networks(), self.cohort.names
        members = [networks[i] for i in group]
        given = batch.inputs if len(batch.inputs) == 1 else [batch.inputs[i] for i in group]
        home, here = home_of(members[0], given[0]), device_of(given[0])
        with computing(home, self.cohort.precision_of(names[group[0]])):
            outputs = stacked.outputs(members, [_arguments(copied(x, home)) for x in given])
        return {i: output.to(here) for i, output in zip(group, outputs, strict=True)}

    def output(self, i: int, x: Tree) -> Tree:
        """Output of member i; its dropout is a function of its seed and ``draw`` alone."""
        name, member = self.cohort.names[i], self.cohort.networks()[i]
        seed = None if self.cohort.seeds is None else mix(self.cohort.seeds[name], self.draw())
        moment = f"at update {self.index}, in training"
        with seeded(seed, home_of(member, x)), blamed(name, member, moment):
            return forward(member, x, self.cohort.precision_of(name))

    def compare(self, i: int, x: Tree, target: Tree | None) -> Compared:
        """The predictions of member i on x, as members compare them."""
        return self.cohort.task.compare(self.together(i, self.output(i, x)), target)

    def together(self, i: int, output: Tree) -> Tree:
        """What member i predicts by this output, which may be that of several inner members."""
        name, member = self.cohort.names[i], self.cohort.networks()[i]
        with blamed(name, member, f"at update {self.index}, with its output"):
            return contract.together(member, self.cohort.task, output)


def _arguments(x: Tree) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)
