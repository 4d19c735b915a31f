"""The report of runs and, where there is one, of the study they belong to, as one HTML file."""

from collections.abc import Sequence

from concord.report.document import document
from concord.report.records import RunView, StudyView
from concord.report.sections import sections
from concord.report.summary import run_summary, study_summary


def page(runs: Sequence[RunView], *, study: StudyView | None = None, title: str) -> str:
    """The whole report as one HTML document that asks nothing of any network."""
    sentences = [*([study_summary(study)] if study else []), *map(run_summary, runs)]
    return document(title, sentences or ["There is nothing to report yet."], sections(runs, study))
