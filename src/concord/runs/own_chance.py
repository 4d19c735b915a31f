"""What a member draws without a seed while it computes, found by asking it twice."""

from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from concord.tasks.task import Task, Tree
from concord.training.devices import home_of
from concord.training.evaluate import output_of
from concord.training.seeding import seeded
from concord.training.trial import alike, differs_by_chance, put_back

WITHOUT = (
    "it draws from a source without a seed, such as os.urandom or numpy.random.default_rng(), or depends on"
    " something that no checkpoint holds"
)


def by_chance(name: str, member: nn.Module, x: Tree, y: Tree, task: Task[Any]) -> list[str]:
    """A sentence for each mode in which two passes from the same state differ."""
    sentences = []
    one, again, other = (_answers(name, member, x, seed) for seed in (0, 0, 1))
    if not alike(one, again):
        sentences.append(
            f"member {name!r} answers differently each time in evaluation mode: {WITHOUT}. Its scores cannot"
            " be repeated"
        )
    elif not alike(one, other):
        sentences.append(
            f"member {name!r} draws random numbers in evaluation mode, as dropout does that stays on: its"
            " scores differ from one evaluation to the next"
        )
    if differs_by_chance(name, member, x, y, task):
        sentences.append(
            f"member {name!r} differs between two training passes with the same weights and seeds: {WITHOUT}."
            " The seed does not repeat this training, and a resume will not be exact"
        )
    return sentences


def _answers(name: str, member: nn.Module, x: Tree, seed: int) -> list[Tensor]:
    with put_back(name, member), seeded(seed, home_of(member, x)):
        output = output_of(member, x)
    return [leaf.detach().float().cpu() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
