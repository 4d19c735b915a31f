"""From a matplotlib figure to SVG that can stand inside an HTML page.

Equal input gives equal bytes (fixed hash salt, no date). Text stays text: it can be searched, selected and
read aloud, the browser finds the glyphs that matplotlib's font lacks, and ``$`` is a dollar sign.
Colours are CSS variables with the colour itself as the fallback, so that a dark page can lighten them.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from concord.files.text import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
FONTS = "DejaVu Sans, Verdana, Geneva, sans-serif"  # of nearly equal widths: labels fit on every system
INK, FAINT = "#222222", "#8a8a8a"
# P. Okabe and K. Ito's colours without their yellow, which is too light for a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#5D3A9B")
GREYS = ("#4d4d4d", "#8c8c8c", "#b8b8b8")
# M. A. Petroff, "Accessible Color Sequences for Data Visualization", 2021: ten classes that stay apart.
CLASS_COLOURS = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70",
                 "#717581", "#92dadb")  # fmt: skip
MINUS = "\N{MINUS SIGN}"
PAPER, GRID = "#ffffff", "#e4e4e4"
ON_IMAGE = "#1a1a1a"  # text on a pale picture, which stays pale on a dark page
# colour -> CSS variable of the page's template, which has a lighter value for a dark page
VARIABLES = {
    INK: "ink",
    FAINT: "faint",
    PAPER: "paper",
    GRID: "grid",
    **{colour: f"line{i}" for i, colour in enumerate(COLOURS, 1)},
    **{colour: f"grey{i}" for i, colour in enumerate(GREYS, 1)},
}
THEMED = re.compile("|".join(VARIABLES), re.IGNORECASE)
SETTINGS: Any = {
    "svg.hashsalt": "concord",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.6,
    "axes.axisbelow": True,
}


def svg(width: float, height: float, title: str, draw: "Callable[[Figure], None]") -> str:
    """An SVG of ``width`` x ``height`` inches with ``draw`` on it; ``title`` is what a screen reader says."""
    title = printable(title)
    with _settings():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _embedded(buffer.getvalue(), title)


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib's settings of this page, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


def _embedded(text: str, title: str) -> str:
    """Without what does not belong inside HTML: a rule for every element of the page, and ids that repeat."""
    root = ElementTree.fromstring(text.encode())
    for parent in root.iter():
        for child in list(parent):
            if child.tag == f"{{{SVG}}}style":
                parent.remove(child)
    mark = "f" + hashlib.sha256((title + text).encode()).hexdigest()[:8]
    _rename(root, mark)
    root.attrib |= {"role": "img", "aria-label": title, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _rename(root: ElementTree.Element, mark: str) -> None:
    used = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == f"{{{XLINK}}}href" and value.startswith("#"):
                used.add(value[1:])
                element.set(key, f"#{mark}-{value[1:]}")
            elif "url(#" in value:
                used.add(value.partition("url(#")[2].partition(")")[0])
                element.set(key, value.replace("url(#", f"url(#{mark}-"))
            elif key == "style" and "font-family" in value:
                head, _, tail = value.partition("font-family: ")
                element.set(key, f"{head}font-family: {FONTS};{tail.partition(';')[2]}")
        if "style" in element.attrib:
            element.set("style", THEMED.sub(_variable, element.attrib["style"]))
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", f"{mark}-{name}")


def _variable(colour: re.Match[str]) -> str:
    """#0072b2 -> var(--line1, #0072b2)"""
    names = {known.lower(): name for known, name in VARIABLES.items()}
    return f"var(--{names[colour[0].lower()]}, {colour[0]})"


def standalone(drawing: str) -> str:
    """A drawing as a file of its own, on white paper: for a README, whose page may be dark."""
    root = ElementTree.fromstring(drawing)
    root.insert(0, ElementTree.Element(f"{{{SVG}}}rect", {"width": "100%", "height": "100%", "fill": PAPER}))
    return ElementTree.tostring(root, encoding="unicode") + "\n"
