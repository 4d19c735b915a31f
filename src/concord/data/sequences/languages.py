"""Languages that take counting: a^n b^n, a^n b^n c^n, and Dyck words.

Sources: G. Weiss, Y. Goldberg, E. Yahav, "On the practical computational power of finite precision RNNs for
language recognition", ACL 2018, section 5; F. Gers, J. Schmidhuber, "LSTM recurrent networks learn simple
context-free and context-sensitive languages", IEEE Transactions on Neural Networks 12, 2001.

Words are learned by predicting their next symbol. Symbol 0 begins and ends a word; letters are 1, 2, ...
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from concord.data.sequences.padded import Problem, of_rows
from concord.errors import UsageError

END = 0


def counted(n: int, letters: int) -> list[int]:
    """a^n b^n ... of that many letters. ``counted(2, 3) -> [1, 1, 2, 2, 3, 3]``"""
    if n < 0 or letters < 2:
        raise UsageError(f"expected n >= 0 and at least 2 letters, got {n} and {letters}")
    return [letter for letter in range(1, letters + 1) for _ in range(n)]


def near_misses(n: int, letters: int) -> list[list[int]]:
    """Words that are wrong by one symbol: each run of letters one shorter, one longer; a letter behind.

    A network that counts to n exactly refuses them all; one that only tells a from b refuses none.
    """
    runs = [
        [n + (k == other) * change for k in range(letters)] for other in range(letters) for change in (-1, 1)
    ]
    words = [[letter for letter, run in enumerate(r, 1) for _ in range(run)] for r in runs if min(r) >= 0]
    return [*words, [*counted(n, letters), 1]]


def dyck(length: int, kinds: int, generator: torch.Generator) -> list[int]:
    """A word of balanced brackets, uniform among all of that length and so many kinds of brackets.

    Opening brackets are 1 to ``kinds``, closing ones follow. Drawn by the number of ways to go on.
    """
    if length < 2 or length % 2 or kinds < 1:
        raise UsageError(f"a Dyck word has an even length of at least 2, got {length} and {kinds} kinds")
    ways = _ways(length)
    word: list[int] = []
    open_: list[int] = []
    for left in range(length, 0, -1):
        up, all_ = ways[left - 1][len(open_) + 1], ways[left][len(open_)]
        if torch.rand((), generator=generator, dtype=torch.float64).item() * all_ < up:
            open_.append(int(torch.randint(1, kinds + 1, (), generator=generator)))
            word.append(open_[-1])
        else:
            word.append(open_.pop() + kinds)
    return word


def _ways(length: int) -> list[list[int]]:
    """[steps left][open brackets] -> ways to close all in so many steps, kinds apart."""
    ways = [[1] + [0] * (length + 1)]
    for _ in range(length):
        below = ways[-1]
        ways.append(
            [(below[k - 1] if k else 0) + (below[k + 1] if k <= length else 0) for k in range(length + 2)]
        )
    return ways


def next_symbols(words: Iterable[Sequence[int]]) -> Problem:
    """Inputs END w_1 ... w_n, answers w_1 ... w_n END."""
    listed = [list(word) for word in words]
    return of_rows([[END, *word] for word in listed], [[*word, END] for word in listed])


def accepted(log_p: Tensor, problem: Problem, least: float = 0.01) -> Tensor:
    """Whether every next symbol of a word, and its end, has a probability above ``least`` (Weiss et al.).

    Shape: (N, T, K) log-probabilities -> (N,) bool
    """
    there = problem.y >= 0
    found = log_p.gather(-1, problem.y.clamp(min=0)[..., None])[..., 0]
    return ((found > torch.tensor(least, dtype=log_p.dtype).log()) | ~there).all(1)
