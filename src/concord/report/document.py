"""One HTML file from sections of any kind: a report, or what networks cost.

Style and figures stand inside the file, and its content policy refuses everything else, so that it can be
mailed, archived and opened anywhere. Names come from other people's folders: the template escapes every text
and its control characters are made visible.
"""

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from concord.report.parts import Drawing, Folded, Heading, Section
from concord.report.tables import Table
from concord.report.text import visible


def document(title: str, summary: Sequence[str], content: Sequence[Section]) -> str:
    """The sections as one HTML document that loads nothing from anywhere."""
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
