"""One HTML file from sections of any kind: a report, or what networks cost.

Style and figures stand inside the file, and its content policy refuses everything else, so that it can be
mailed, archived and opened anywhere. Names come from other people's folders: the template escapes every text
and its control characters are made visible.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from concord.errors import UsageError
from concord.files.atomic import write_text
from concord.files.text import printable
from concord.report.formulas import marked
from concord.report.parts import Beside, Drawing, Folded, Formulas, Heading, Notice, Part, Section
from concord.report.tables import Table

SHRUNK = 0.68  # the smallest scale of a figure on a narrow screen


def document(title: str, first: Sequence[Part], content: Sequence[Section]) -> str:
    """Any sections as such a document; ``first`` stands before the contents: verdict, notices, a figure."""
    source = files("concord.report").joinpath("template.html").read_text(encoding="utf-8")
    template = _environment().from_string(source)
    return template.render(title=title, opening=first, sections=content)


def write_html(to: str | Path, page: str, usual: str) -> None:
    """Write a page; UsageError for a folder, which is answered with a file named ``usual`` in it, and for a
    name of another kind of file."""
    if Path(to).is_dir():
        raise UsageError(f"{to} is a folder; give the name of a file in it, such as {Path(to, usual)}")
    if Path(to).suffix.lower() not in ("", ".html", ".htm"):
        raise UsageError(f"{to}: the page is HTML, so its name must end in .html")
    write_text(Path(to), page)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["lines"] = str.splitlines
    environment.filters["least"] = _least
    environment.filters["formula"] = marked
    environment.filters["drawn"] = lambda drawing: Markup(drawing.svg)
    for kind in (Table, Drawing, Heading, Notice, Formulas, Beside, Folded):
        environment.tests[kind.__name__.lower()] = lambda part, kind=kind: isinstance(part, kind)
    return environment


def _least(drawing: Drawing) -> int:
    """Pixels below which the figure scrolls in its box rather than shrink: its letters stay readable."""
    width = re.search(r'width="([0-9.]+)pt"', drawing.svg)
    return round(SHRUNK * 4 / 3 * float(width[1])) if width else 0
