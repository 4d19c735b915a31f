"""How well a run separates other data from its own, as a table."""

from concord.report.tables import Table, entries
from concord.report.text import percent, whole
from concord.runs.against import Against, of

NOTE = (
    "AUROC: probability that an own test image has the higher score than an image of the other data; 50 is"
    " chance. AUPR: average precision, own images positive; their share is chance. FPR 95: share of the other"
    " images that pass where 95 % of the own ones do."
)


def against_table(found: Against) -> Table:
    """A row per member and score."""
    rows = [
        entries(name, score.replace("_", " "), percent(row.auroc), percent(row.aupr), percent(row.fpr95))
        for name, scores in of(found).items()
        for score, row in scores.items()
    ]
    caption = f"Own test images against {whole(found.samples)} images of {found.data}"
    return Table(caption, ("member", "score", "AUROC %", "AUPR %", "FPR 95 %"), tuple(rows), 2, (NOTE,))
