"""Baselines and networks on one split: its tables, and the page or Markdown file made of them."""

from concord.baseline.published import FIGURES
from concord.report.document import document
from concord.report.parts import Section
from concord.report.rivals import pair_table, published_table, rival_table, support_table
from concord.report.tables import Table, markdown
from concord.runs.comparison import Comparison


def comparison_tables(found: Comparison) -> list[Table]:
    """Errors and costs; pairs, support vectors and published figures where there are any."""
    tables = [rival_table(found.rivals, found.read.source)]
    if len(found.rivals) > 1:
        tables.append(pair_table(found.rivals, found.reference))
    if any(rival.support for rival in found.rivals):
        tables.append(support_table(found.rivals, found.test.classes))
    if found.mnist:
        tables.append(published_table([(f.method, f.images, f.error) for f in FIGURES]))
    return tables


def comparison_text(found: Comparison, as_markdown: bool) -> str:
    """All tables as Markdown, or as one HTML document that begins with the verdict."""
    tables = comparison_tables(found)
    if as_markdown:
        return "\n".join(map(markdown, tables))
    best = min(found.rivals, key=lambda rival: rival.error)
    first = f"{best.name} has the smallest test error of {len(found.rivals)}: {100 * best.error:.2f} %."
    sections = [Section(f"table-{n}", table.caption, (table,)) for n, table in enumerate(tables, 1)]
    return document("concord: baselines", [first], sections)
