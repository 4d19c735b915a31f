"""Made sequences by name, with what is to be learned of them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch

from concord.data.draws import seed_of
from concord.data.sequences import chomsky, languages, synthetic
from concord.data.sequences.files import Listed
from concord.data.sequences.padded import Problem

COUNT, STEPS = 2000, 50
LONGEST_WORD = 20  # of the Chomsky tasks


class Made(NamedTuple):
    """What a named set is: the task that it is made for, its symbols (none: numbers), its classes."""

    task: str
    alphabet: str
    classes: tuple[str, ...]
    make: Callable[[torch.Generator], Problem]


def _words(task: str) -> Callable[[torch.Generator], Problem]:
    def make(generator: torch.Generator) -> Problem:
        lengths = torch.randint(1, LONGEST_WORD + 1, (COUNT,), generator=generator)
        return chomsky.words(task, lengths, generator)

    return make


def _dyck(generator: torch.Generator) -> Problem:
    lengths = 2 * torch.randint(1, STEPS // 2 + 1, (COUNT,), generator=generator)
    return languages.next_symbols(languages.dyck(n, 2, generator) for n in lengths.tolist())


def _counted(letters: int, most: int) -> Callable[[torch.Generator], Problem]:
    return lambda generator: languages.next_symbols(languages.counted(n, letters) for n in range(1, most + 1))


ORDERS = ("AA", "AB", "BA", "BB")
COPIED = tuple("012345678")
NAMED: Mapping[str, Made] = {
    "anbn": Made("language", "$ab", tuple("$ab"), _counted(2, 100)),
    "anbncn": Made("language", "$abc", tuple("$abc"), _counted(3, 50)),
    "dyck": Made("language", "$([)]", tuple("$([)]"), _dyck),
    **{
        task: Made(
            "segments", "".join(map(str, range(letters))) + "_", tuple(map(str, range(letters))), _words(task)
        )
        for task, letters in chomsky.LETTERS.items()
    },
    "copy_memory": Made(
        "segments", "0123456789", COPIED, lambda generator: synthetic.copy_memory(COUNT, STEPS, generator)
    ),
    "temporal_order": Made(
        "sequence", "", ORDERS, lambda generator: synthetic.temporal_order(COUNT, STEPS, generator)
    ),
}


def made(name: str, seed: int) -> Listed:
    """The set of that name as a function of the seed."""
    found = NAMED[name]
    problem = found.make(torch.Generator().manual_seed(seed_of(name, seed) >> 1))
    names = tuple(f"{name} {i}" for i in range(len(problem.lengths)))
    return Listed(problem, found.classes, tuple(found.alphabet), names)
