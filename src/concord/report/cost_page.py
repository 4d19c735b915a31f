"""One HTML page about what networks cost."""

from collections.abc import Sequence
from pathlib import Path

from concord.cost.record import Priced
from concord.errors import UsageError
from concord.files.atomic import write_text
from concord.report.cost_parts import cost_parts
from concord.report.cost_totals import comparison
from concord.report.document import document
from concord.report.parts import Section


def cost_page(several: Sequence[Priced]) -> str:
    """One HTML document that compares the networks and shows every layer of each."""
    side_by_side = [Section("comparison", "Side by side", (comparison(several),))] if len(several) > 1 else []
    each = [
        Section(f"network-{number}", priced.name, tuple(cost_parts(priced)))
        for number, priced in enumerate(several, 1)
    ]
    names = ", ".join(priced.name for priced in several)
    return document(f"concord: cost of {names}", [], [*side_by_side, *each])


def write_page(several: Sequence[Priced], to: str) -> None:
    """One HTML file with every layer of every network, blocks folded."""
    if Path(to).is_dir():
        raise UsageError(f"{to} is a folder; give the name of a file in it, such as {Path(to, 'cost.html')}")
    if Path(to).suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(f"{to}: the page is HTML, so its name must end in .html")
    write_text(Path(to), cost_page(several))
