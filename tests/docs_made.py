"""The documents of the repository and the blocks of code in them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent


def blocks(path: Path, language: str) -> list[str]:
    """Texts of the blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
