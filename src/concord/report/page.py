"""The report of runs and, where there is one, of the study they belong to, as one HTML file."""

from collections.abc import Sequence

from concord.report.document import document
from concord.report.opening import opening
from concord.report.records import RunView, StudyView
from concord.report.sections import sections


def page(runs: Sequence[RunView], *, study: StudyView | None = None, title: str) -> str:
    """The whole report as one HTML document that asks nothing of any network."""
    return document(title, opening(runs, study), sections(runs, study))
