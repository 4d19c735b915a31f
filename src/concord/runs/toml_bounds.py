"""TOML is bounded before it is parsed: tomllib takes memory and time without limit for small texts."""

import re

from concord.files.bounded import depth

MOST_KEYS = 10_000  # a configuration of 256 members has less than 3,000
LONGEST_KEY = 16  # names in one dotted key; concord has three
DEEPEST = 16  # tables and lists within each other
MOST_VALUES = 300_000  # a table of 256 x 256 edges has 65,536

# A string left open reaches to the end of its line or of the text; *+ looks at no part twice.
QUOTED = re.compile(
    r'"""(?:\\.|[^\\"]|"(?!""))*+(?:""")?'
    r"|\'\'\'(?:[^']|'(?!''))*+(?:\'\'\')?"
    r'|"(?:\\[^\n]|[^"\\\n])*+"?'
    r"|'[^'\n]*+'?"
    r"|\#[^\n]*+",
    re.DOTALL,
)
BETWEEN_KEYS = re.compile(r"[=,\[\]{}\n]")


def check(text: str) -> None:
    """ValueError for too many keys or values, a key of too many names, and what is nested too deeply."""
    bare = QUOTED.sub(lambda found: "" if found[0].startswith("#") else "q", text).translate(SPACES)
    if bare.count("=") > MOST_KEYS or bare.count("[") + bare.count("{") > MOST_VALUES:
        raise ValueError(f"more than {MOST_KEYS:,} keys")
    if bare.count(",") > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    if max(part.count(".") for part in BETWEEN_KEYS.split(bare)) >= LONGEST_KEY:
        raise ValueError(f"a key of more than {LONGEST_KEY} names")
    if depth(bare.encode("utf-8", "replace")) > DEEPEST:
        raise ValueError("nested too deeply")


SPACES = str.maketrans("", "", " \t\r")
