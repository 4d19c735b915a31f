"""From the probabilities of every step to a labelling: connectionist temporal classification.

Source: A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, "Connectionist temporal classification", ICML 2006,
section 3.2: best path decoding, and prefix search, here with a beam of prefixes (A. Hannun et al.,
"First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs", 2014,
algorithm 1, without a language model).
"""

import math
from collections import defaultdict
from itertools import pairwise

from torch import Tensor

from concord.errors import ShapeError, UsageError

BLANK = 0
NEVER = -math.inf


def collapsed(path: list[int]) -> tuple[int, ...]:
    """The labelling of a path: repeats become one, then blanks go. ``[1, 1, 0, 1] -> (1, 1)``"""
    kept = (label for t, label in enumerate(path) if t == 0 or label != path[t - 1])
    return tuple(label for label in kept if label != BLANK)


def greedy(logits: Tensor, steps: Tensor) -> list[tuple[int, ...]]:
    """The labelling of the likeliest path of each sample.

    Shape: (B, T, K) with blank 0, (B,) -> B labellings
    """
    best = logits.argmax(-1).tolist()
    return [collapsed(path[:length]) for path, length in zip(best, steps.tolist(), strict=True)]


def prefix_beam(logits: Tensor, steps: Tensor, width: int = 10) -> list[tuple[int, ...]]:
    """The likeliest labelling of each sample among those that a beam of ``width`` prefixes keeps.

    A labelling's probability is the sum over all its paths, so that the likeliest one may differ from that of
    the likeliest path. With a beam as wide as there are prefixes the search is exact.

    Shape: (B, T, K) with blank 0, (B,) -> B labellings. UsageError for a width below 1.
    """
    if width < 1:
        raise UsageError(f"a beam keeps at least 1 prefix, got {width}")
    if logits.ndim != 3:
        raise ShapeError(f"expected logits (B, T, K), got {tuple(logits.shape)}")
    log_p = logits.double().log_softmax(-1)
    return [_best(log_p[b, :length], width) for b, length in enumerate(steps.tolist())]


def _best(log_p: Tensor, width: int) -> tuple[int, ...]:
    """Shape: (T, K) -> a labelling"""
    beam: dict[tuple[int, ...], tuple[float, float]] = {
        (): (0.0, NEVER)
    }  # ln p ending in a blank, in a label
    for row in log_p.tolist():
        reached: dict[tuple[int, ...], list[float]] = defaultdict(lambda: [NEVER, NEVER])
        for prefix, (blank, label) in beam.items():
            both = _sum(blank, label)
            reached[prefix][0] = _sum(reached[prefix][0], both + row[BLANK])
            for k, p in enumerate(row):
                if k == BLANK:
                    continue
                again = bool(prefix) and prefix[-1] == k
                if again:  # the same label without a blank between repeats it, with one it begins another
                    reached[prefix][1] = _sum(reached[prefix][1], label + p)
                longer = reached[(*prefix, k)]
                longer[1] = _sum(longer[1], (blank if again else both) + p)
        ranked = sorted(reached.items(), key=lambda item: _sum(*item[1]), reverse=True)
        beam = {prefix: (blank, label) for prefix, (blank, label) in ranked[:width]}
    return max(beam, key=lambda prefix: _sum(*beam[prefix]))


def _sum(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    high, low = max(a, b), min(a, b)
    return high if low == NEVER else high + math.log1p(math.exp(low - high))


def edits(given: tuple[int, ...], wanted: tuple[int, ...]) -> int:
    """Fewest insertions, deletions and replacements from one to the other (Levenshtein 1966)."""
    row = list(range(len(wanted) + 1))
    for i, label in enumerate(given, 1):
        above, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (label != other))
    return row[-1]


def steps_needed(labels: tuple[int, ...]) -> int:
    """Fewest steps of a path with that labelling: one for each label, and a blank between two alike."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))
