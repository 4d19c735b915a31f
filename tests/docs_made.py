"""The documents of the repository and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(path: Path, language: str) -> list[str]:
    """Texts of the blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)


def unlike(shown, given, where="$"):
    """Where the shapes differ: keys, lists, and whether a value is a truth, a number or a text.

    What is empty or null on one side only is there too: nothing shows that it is as told.
    """
    if isinstance(shown, dict) and isinstance(given, dict):
        named = list(shown) == ["NAME"]
        inner = dict.fromkeys(given, shown["NAME"]) if named else shown
        keys = [where] if named and not given else [f"{where}.{key}" for key in inner.keys() ^ given.keys()]
        return keys + [
            x for k in inner.keys() & given.keys() for x in unlike(inner[k], given[k], f"{where}.{k}")
        ]
    if isinstance(shown, list) and isinstance(given, list):
        inside = [x for value in given for x in unlike(shown[0], value, f"{where}[]")]
        return inside if given else [where]
    numbers = (int, float) if type(shown) in (int, float) else (type(shown),)
    return [] if type(given) in numbers else [where]
