"""How a figure came about, as a student would write it: formula = substitution = result.

Letters are those of the field: M input channels, N output channels, K kernel, H x W (or T) output positions,
G groups, D features, B samples if there is more than one.

What counts as a multiply-accumulate (MAC) and what as another operation:
  * MACs: the products of convolutions, linear layers, matrix products and recurrent cells;
  * others: a bias addition 1 per output; batch normalisation in evaluation 2 per element (scale, shift); a
    normalisation with statistics of its own 5 per element, and 2 more if it scales and shifts; a softmax 3
    (exponential, sum, quotient); an activation or any other function of one element 1; max-pooling K² - 1
    comparisons and average pooling K² per output; interpolation 2 per tap; a sum, mean or maximum 1 per
    element that goes in; a recurrent cell its biases, gates and element-wise products; weight normalisation
    2 per weight;
  * nothing: copies, concatenations, views, padding, look-ups, and dropout in evaluation.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LETTER = re.compile(r"[A-Z](?:_[a-z]+)?")


class Rule(NamedTuple):
    """The formulas of one layer and the values of their letters; an empty formula stands for 0."""

    letters: Mapping[str, int]
    parameters: str = ""
    macs: str = ""
    other: str = ""


def substituted(formula: str, letters: Mapping[str, int]) -> str:
    """The values in place of the letters: ``K²·M·N + N`` -> ``5²·3·64 + 64``."""
    return LETTER.sub(lambda match: str(letters[match[0]]), formula)


def in_sizes(shapes: Iterable[tuple[int, ...]]) -> str:
    """How many numbers tensors of these shapes have: ``2·768`` for two of 768, ``60·8 + 60``."""
    sizes = Counter("·".join(str(side) for side in shape if side != 1) or "1" for shape in shapes)
    return " + ".join(size if times == 1 else f"{times}·{size}" for size, times in sizes.items())


def worked(formula: str, letters: Mapping[str, int], result: int) -> str:
    """``K²·M·N + N = 5²·3·64 + 64 = 4,864``; nothing is written twice."""
    numbers = substituted(formula, letters)
    steps = [formula, *([numbers] if numbers not in (formula, str(result)) else []), f"{result:,}"]
    return " = ".join(steps if steps[-1] != formula else steps[:1])
