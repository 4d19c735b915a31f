"""One HTML file from runs and, where there is one, the study they belong to.

Style and figures stand inside the file, and its content policy refuses everything else, so that it can be
mailed, archived and opened anywhere. Names come from other people's folders: the template escapes every text
and its control characters are made visible.
"""

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from concord.report.parts import Drawing, Folded, Heading, Section
from concord.report.records import RunView, StudyView
from concord.report.sections import sections
from concord.report.summary import run_summary, study_summary
from concord.report.tables import Table
from concord.report.text import visible


def page(runs: Sequence[RunView], *, study: StudyView | None = None, title: str) -> str:
    """The whole report as one HTML document that asks nothing of any network."""
    sentences = [*([study_summary(study)] if study else []), *map(run_summary, runs)]
    return document(title, sentences or ["There is nothing to report yet."], sections(runs, study))


def document(title: str, summary: Sequence[str], content: Sequence[Section]) -> str:
    """Any sections as such a document."""
    source = files("concord.report").joinpath("template.html").read_text(encoding="utf-8")
    template = _environment().from_string(source)
    return template.render(title=title, summary=summary, sections=content)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["drawn"] = lambda drawing: Markup(drawing.svg)
    for name, kind in {"table": Table, "drawing": Drawing, "heading": Heading, "folded": Folded}.items():
        environment.tests[name] = lambda part, kind=kind: isinstance(part, kind)
    return environment
