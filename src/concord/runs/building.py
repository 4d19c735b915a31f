"""What the building of every member keeps to, whatever it is trained on: seeds of its own, and a size."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from concord.data import memory
from concord.errors import CheckpointError, UsageError
from concord.runs.config import Config, Member
from concord.training.checkpoint import MEMBER, Checkpoint
from concord.training.seeding import purpose_seed, seeded
from concord.zoo import own
from concord.zoo.ensembles.names import named
from concord.zoo.limits import Limit, TooLargeError, bounded

NO_ROOM = "does not fit into the free memory, with what a training needs beside it"
SMALL = 10_000_000  # parameters


def import_own(config: Config, allow_code: Collection[str]) -> None:
    """Import the users' own code that is allowed: what that draws is the same whoever stands beside it."""
    for name in dict.fromkeys(member.network for member in config.members):
        if ":" in name and name in allow_code and named(name) is None:
            with seeded(purpose_seed("import", name.rpartition(":")[0]), torch.device("cpu")):
                own.imported(name)


def started(config: Config, member: Member) -> AbstractContextManager[None]:
    """A block in which whatever a factory draws from is a function of the seed and of the member's name."""
    return seeded(purpose_seed(config.train.seed, "start", member.name), torch.device("cpu"))


@contextmanager
def bounded_by(member: Member, saved: Checkpoint | None) -> Iterator[None]:
    """No network of the zoo is larger than a checkpoint can be, or than the one that will fill it."""
    if ":" in member.network:  # code that the user has allowed by name
        yield
        return
    if saved is None or named(member.network) is not None:  # a packed one is made of a larger network
        free = memory.available()
        # half of it, at 4 bytes each; what is small is left to check_memory
        numbers = None if free is None else max(free // 8, SMALL)
        with bounded(Limit(numbers=numbers, because=NO_ROOM)):
            yield
        return
    try:
        with bounded(Limit.of(saved.tensors.get(f"{MEMBER}{member.name}", {}))):
            yield
    except (TooLargeError, UsageError, RuntimeError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{saved.path}: member {member.name!r} was not made for {member.network} (config.toml): {error}"
        ) from None
