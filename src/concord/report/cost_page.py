"""One HTML page about what networks cost."""

from collections.abc import Sequence

from concord.cost.record import Priced
from concord.report.cost_parts import cost_parts
from concord.report.cost_totals import comparison
from concord.report.document import document, write_html
from concord.report.parts import Section
from concord.report.tables import Table


def cost_page(several: Sequence[Priced], more: Sequence[Table] = ()) -> str:
    """One HTML document that compares the networks, shows ``more`` tables and every layer of each."""
    side_by_side = [Section("comparison", "Side by side", (comparison(several),))] if len(several) > 1 else []
    each = [
        Section(f"network-{number}", priced.name, tuple(cost_parts(priced)))
        for number, priced in enumerate(several, 1)
    ]
    runs = [Section("runs", "Updates and measurements", tuple(more))] if more else []
    names = ", ".join(priced.name for priced in several)
    return document(f"concord: cost of {names}", [], [*side_by_side, *runs, *each])


def write_page(several: Sequence[Priced], to: str, more: Sequence[Table] = ()) -> None:
    """One HTML file with every layer of every network, blocks folded, and ``more`` tables."""
    write_html(to, cost_page(several, more), "cost.html")
