"""Docstrings as paragraphs of a page, and figures as sentences."""

import inspect
import re
from collections.abc import Iterable

from concord.errors import amount
from concord.report.over_time import Reach

SIGNS = {
    "sigmoid": "\N{GREEK SMALL LETTER SIGMA} is the logistic function",
    "∘": "∘ multiplies entry by entry",
    "*": "\N{ASTERISK OPERATOR} is a convolution",
    "Σ_j": "Σ with the index j is a sum over the places j of a kernel",
}
LETTERS = "capital letters are matrices or kernels, small letters without the index t vectors, all learned."


def paragraphs(docstring: str | None) -> tuple[str, ...]:
    """Each without the breaks of its lines; every point of a list stands alone. () without a docstring."""
    blocks = re.split(r"\n\s*\n|\n(?=\s*\* )", inspect.cleandoc(docstring or ""))
    texts = (re.sub(r"\s+", " ", block).replace("``", "'").strip() for block in blocks)
    return tuple(re.sub(r"^\* ", "• ", text) for text in texts if text)


def symbols_text(equations: Iterable[str]) -> str:
    """The signs that these equations use."""
    text = " ".join(equations)
    meanings = [meaning for sign, meaning in SIGNS.items() if sign in text]
    return "; ".join([*meanings, LETTERS])


def steps_text(seen: Reach, *, every: bool) -> str:
    """The steps of the input that an output depends on; without ``every``, the one output at the end."""
    if seen.past is None and not every:
        return "every step of the input: the state carries them to the end"
    if seen.past is None and seen.future is None:
        return "every step of the sequence, before and behind its own"
    if seen.past is None:
        return "its own step and every one before it: the state carries them"
    return f"{amount(seen.past + 1, 'step')}: its own and {seen.past:,} before it"
