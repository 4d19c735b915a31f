"""Equations of plain text as HTML: indices below the line, single letters in italics, signs for words."""

import re

from markupsafe import Markup, escape

SIGNS = {"-": "\N{MINUS SIGN}", "*": "\N{ASTERISK OPERATOR}", "sigmoid": "\N{GREEK SMALL LETTER SIGMA}"}
TOKEN = re.compile(r"_\{([^}]+)\}|_(\w)|\b([A-Za-z])\b(?!\()|\b([A-Za-z])(?=_)|-|\*|sigmoid")


def marked(text: str) -> Markup:
    """``h_{t-1}`` -> h with t-1 as its index. What is not markup of its own is escaped."""
    return Markup(TOKEN.sub(_shown, str(escape(text))))


def _shown(found: re.Match[str]) -> str:
    if found[0] in SIGNS:
        return SIGNS[found[0]]
    index = found[1] or found[2]
    if index:
        return f"<sub>{TOKEN.sub(_shown, index)}</sub>"
    return f"<i>{found[0]}</i>"
