"""The site that ``make docs`` builds from the Markdown of this folder.

Formulas become MathML while the site is built: a page needs no network, and no JavaScript to be read. Code is
quoted from ``src`` by literalinclude. Two directives show what that code does:

    ```{run}            Python, run while the site is built; what it prints stands below it
    ```{picture} NAME   what ``picture()`` of formulas/pictures/NAME.py draws; its text is the caption

Whatever fails in them is a warning, and ``make docs`` makes errors of warnings.
"""

import io
import runpy
from contextlib import redirect_stdout
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

project = "concord"
copyright = "the authors of concord, Apache License 2.0"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
smartquotes = False

html_theme = "furo"
html_title = "concord"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_copy_source = html_show_sourcelink = html_use_index = False

PICTURES = Path(__file__).parent / "formulas/pictures"
MATH = LatexToMathML(fancy_error=False)
LOGGER = logging.getLogger(__name__)


class Run(SphinxDirective):
    """A block of Python, and below it what it prints now."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        code, printed = "\n".join(self.content), io.StringIO()
        try:
            with redirect_stdout(printed):
                exec(compile(code, self.get_location(), "exec"), {"__name__": "__run__"})
        except Exception as error:
            raise self.error(f"{type(error).__name__}: {error}") from error
        text = printed.getvalue().rstrip("\n")
        if not text:
            raise self.error("this block prints nothing")
        return [
            nodes.literal_block(code, code, language="python", classes=["ran"]),
            nodes.literal_block(text, text, language="text", classes=["printed"]),
        ]


class Picture(SphinxDirective):
    """The SVG that a module beside the pages draws, inside the page, with a caption."""

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        file = PICTURES / f"{self.arguments[0]}.py"
        self.env.note_dependency(str(file))
        try:
            svg = runpy.run_path(str(file))["picture"]()
        except Exception as error:
            raise self.error(f"{file.name}: {type(error).__name__}: {error}") from error
        caption = nodes.caption("", "", *self.parse_text_to_nodes(" ".join(self.content))[0].children)
        return [nodes.figure("", nodes.raw("", svg, format="html"), caption, classes=["picture"])]


def as_mathml(translator: Any, node: nodes.Element, *, displaystyle: bool) -> None:
    try:
        text = MATH.convert_with_local_state(node.astext(), displaystyle=displaystyle)
    except LatexError as error:
        LOGGER.warning("%s in %s", error, node.astext(), location=node)
        text = f"<code>{escape(node.astext())}</code>"
    translator.body.append(f'<div class="formula">{text}</div>' if displaystyle else text)
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("run", Run)
    app.add_directive("picture", Picture)
    app.add_html_math_renderer(
        "mathml",
        inline_renderers=(lambda t, node: as_mathml(t, node, displaystyle=False), None),
        block_renderers=(lambda t, node: as_mathml(t, node, displaystyle=True), None),
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
