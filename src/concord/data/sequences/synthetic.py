"""Problems with a long way between a cause and its effect: adding, copy memory, temporal order.

Sources: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, sections 5.4 to 5.6; S. Bai,
J. Z. Kolter, V. Koltun, 2018, arXiv:1803.01271, section 4 (adding, copy memory); R. Pascanu, T. Mikolov,
Y. Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, section 4.1 and the code
of its authors (temporal order).
"""

import torch
import torch.nn.functional as F

from concord.data.sequences.padded import Problem
from concord.errors import UsageError

DIGITS, TAIL = 8, 10  # of copy memory: symbols 1 to 8, ten of them


def adding(count: int, steps: int, generator: torch.Generator) -> Problem:
    """Numbers in [0, 1) and two marks, one in each half; the answer is the sum of the marked numbers.

    Always to answer 1 has a mean squared error of 1/6, the variance of that sum.

    Shape: x (N, T, 2), y (N, 1)
    """
    _require(count, steps, 2)
    half = steps // 2
    numbers = torch.rand(count, steps, generator=generator)
    places = torch.stack(
        [
            torch.randint(half, (count,), generator=generator),
            torch.randint(half, steps, (count,), generator=generator),
        ],
        1,
    )
    marks = torch.zeros(count, steps).scatter_(1, places, 1.0)
    answer = (numbers * marks).sum(1, keepdim=True)
    return Problem(torch.stack([numbers, marks], 2), torch.full((count,), steps), answer)


def copy_memory(count: int, delay: int, generator: torch.Generator) -> Problem:
    """Ten digits of 1 to 8, then zeros, then eleven 9s; the answer is 0 until the last ten steps, which
    repeat the digits.

    Always to answer 0, and then each digit with 1/8, has a loss of 10 ln 8 / (delay + 20) nats per step.

    Shape: x (N, T + 20) symbols, y (N, T + 20)
    """
    _require(count, delay, 1)
    digits = torch.randint(1, DIGITS + 1, (count, TAIL), generator=generator)
    zeros, nines = torch.zeros(count, delay - 1, dtype=torch.int64), torch.full((count, TAIL + 1), DIGITS + 1)
    x = torch.cat([digits, zeros, nines], 1)
    y = torch.cat([torch.zeros(count, delay + TAIL, dtype=torch.int64), digits], 1)
    return Problem(x, torch.full((count,), delay + 2 * TAIL), y)


def temporal_order(count: int, steps: int, generator: torch.Generator) -> Problem:
    """A or B in the second tenth and in the sixth, four other symbols between; the class says which pair.

    Shape: x (N, T, 6) one-hot, A and B first; y (N,): AA 0, AB 1, BA 2, BB 3
    """
    _require(count, steps, 10)
    x = torch.randint(2, 6, (count, steps), generator=generator)
    pair = torch.randint(2, (count, 2), generator=generator)
    for k, (low, high) in enumerate(((1, 2), (5, 6))):
        places = torch.randint(low * steps // 10, high * steps // 10, (count,), generator=generator)
        x[torch.arange(count), places] = pair[:, k]
    return Problem(F.one_hot(x, 6).float(), torch.full((count,), steps), 2 * pair[:, 0] + pair[:, 1])


def _require(count: int, steps: int, least: int) -> None:
    if count < 1 or steps < least:
        raise UsageError(f"expected at least 1 sequence of at least {least} steps, got {count} of {steps}")
