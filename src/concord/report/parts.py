"""What a section of the page is made of. Parts are data; only the template knows HTML."""

from dataclasses import dataclass

from concord.report.tables import Table


@dataclass(frozen=True)
class Drawing:
    svg: str  # made by concord.report.svg, hence safe to stand in HTML as it is
    caption: str


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass(frozen=True)
class Notice:
    """What a reader must know before trusting the figures; several lines are shown as lines."""

    text: str


@dataclass(frozen=True)
class Formulas:
    """Equations, one to a line; ``c_{t-1}`` is shown with its index below the line."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Beside:
    """Drawings side by side where the window is wide enough, else below each other."""

    parts: tuple[Drawing, ...]


@dataclass(frozen=True)
class Folded:
    """Parts that the reader opens with a click; works without any script."""

    title: str
    parts: tuple["Part", ...]


Part = str | Table | Drawing | Heading | Notice | Formulas | Beside | Folded


@dataclass(frozen=True)
class Section:
    key: str  # the anchor, and what tests look for
    title: str
    parts: tuple[Part, ...]
