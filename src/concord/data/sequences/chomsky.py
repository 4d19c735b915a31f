"""Four tasks of the Chomsky hierarchy: one regular, one context-free, two context-sensitive.

Source: G. Deletang et al., "Neural networks and the Chomsky hierarchy", ICLR 2023, table 1: parity check,
reverse string, bucket sort, duplicate string. As there, an answer that is a string is asked for behind the
input, one symbol at each step of a blank; the accuracy is that of the answer's symbols.
"""

from collections.abc import Callable, Mapping

import torch

from concord.data.sequences.padded import NOTHING, Problem, of_rows
from concord.errors import UsageError

Answer = Callable[[list[int]], list[int]]
LETTERS: Mapping[str, int] = {"parity": 2, "reverse": 2, "bucket_sort": 5, "duplicate": 2}
ANSWERS: Mapping[str, Answer] = {
    "parity": lambda word: [sum(word) % 2],
    "reverse": lambda word: word[::-1],
    "bucket_sort": sorted,
    "duplicate": lambda word: word + word,
}


def words(task: str, lengths: torch.Tensor, generator: torch.Generator) -> Problem:
    """A random word of each length and its answer; letters are 0, 1, ..., the blank is the next number.

    >>> words("reverse", torch.tensor([3]), torch.Generator())     # x 0 1 1 2 2 2, y - - - 1 1 0
    """
    if task not in ANSWERS:
        raise UsageError(f"expected one of {', '.join(ANSWERS)}, got {task!r}")
    if lengths.ndim != 1 or not len(lengths) or lengths.min() < 1:
        raise UsageError("lengths are whole numbers of at least 1, one for each word")
    letters = LETTERS[task]
    drawn = [torch.randint(letters, (n,), generator=generator).tolist() for n in lengths.tolist()]
    answers = [ANSWERS[task](word) for word in drawn]
    inputs = [word + [letters] * len(answer) for word, answer in zip(drawn, answers, strict=True)]
    asked = [[NOTHING] * len(word) + answer for word, answer in zip(drawn, answers, strict=True)]
    return of_rows(inputs, asked)
