"""What attacks did to networks, as data and as one HTML page.

Intervals are those of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
1927, at 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from concord.report.intervals import wilson
from concord.report.page import document
from concord.report.parts import Drawing, Folded, Part, Section
from concord.report.robustness_figures import Line, Triple, eps_chart, largest_change, triples
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, percent

STUCK = 0.01  # share of samples without a gradient from which the reader is warned
FOOLED = (
    "Read a row as: of the images that fooled the network of this row and that the network of the column got "
    "right before, the share (in %) that fools the network of the column too. Any wrong answer counts, "
    "whether or not the attack was for one class."
)


@dataclass(frozen=True)
class Rate:
    """A share of n images with its 95 % interval."""

    share: float
    low: float
    high: float

    @classmethod
    def of(cls, count: int, n: int) -> "Rate":
        return cls(count / n, *wilson(count, n))


@dataclass(frozen=True)
class Point:
    """A network under an attack of one size."""

    eps: float
    error: Rate
    confidence: float | None  # mean of that of wrong answers; None where none is wrong
    reached: Rate | None  # share that got the wanted class; None where none was wanted


@dataclass(frozen=True)
class Attacked:
    """One network that was attacked; ``stuck`` is the share of samples with no gradient, see ``notices``."""

    name: str
    clean: Rate
    points: tuple[Point, ...]
    stuck: float


@dataclass(frozen=True)
class Transfer:
    """Rows are networks attacked, columns networks tested; None where there was nothing to transfer."""

    eps: float
    attacked: tuple[str, ...]
    tested: tuple[str, ...]
    error: tuple[tuple[float, ...], ...]
    fooled: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Gallery:
    """Images that fooled one network, the surest ones first."""

    name: str
    eps: float
    added: str  # what the change is, for example 0.1 x sign
    triples: tuple[Triple, ...]


@dataclass(frozen=True)
class Robustness:
    """Everything about one call of ``concord attack``."""

    title: str
    method: str  # a sentence
    samples: int
    networks: tuple[Attacked, ...]
    transfers: tuple[Transfer, ...]  # by eps
    galleries: tuple[Gallery, ...]
    checkpoints: tuple[str, ...] = ()  # of the runs, whose weights were attacked
    own_test: bool = False  # whether the images are a test split of what the first run was trained on


def notices(found: Robustness) -> list[str]:
    """What the reader must know to believe the figures."""
    return [
        f"{network.name}: the gradient of {percent(network.stuck, 1)} % of the images is exactly zero or no "
        "number, so that no attack by gradient can move them. The success of the attack is underestimated: "
        "this is no sign of robustness."
        for network in found.networks
        if network.stuck >= STUCK
    ]


def robustness_page(found: Robustness) -> str:
    """One HTML document."""
    summary = [found.method, *map(_sentence, found.networks), *notices(found)]
    plan: list[tuple[str, str, Sequence[Part]]] = [
        ("curve", "Error against eps", _curve(found)),
        ("transfer", "Transfer", _transfer(found)),
        ("pictures", "What the attack adds", _pictures(found)),
    ]
    return document(found.title, summary, [Section(key, title, tuple(parts)) for key, title, parts in plan])


def _sentence(network: Attacked) -> str:
    worst = network.points[-1]
    return (
        f"{network.name} errs on {percent(network.clean.share)} % of the images as they are and on "
        f"{percent(worst.error.share)} % at eps {worst.eps:g}."
    )


def _curve(found: Robustness) -> list[Part]:
    lines = [
        Line(n.name, [0.0, *(p.eps for p in larger)], [n.clean, *(p.error for p in larger)])
        for n in found.networks
        for larger in [[p for p in n.points if p.eps]]
    ]
    caption = f"Error on {found.samples:,} test images, with 95 % intervals (Wilson)."
    return [Drawing(eps_chart(lines, title="Error against eps"), caption), error_table(found)]


def error_table(found: Robustness) -> Table:
    """Clean error and error at every eps, with intervals."""
    wanted = _aimed(found)
    header = ("network", "eps", "error %", "95 %", "confidence of wrong answers %")
    rows = []
    for network in found.networks:
        rows.append(entries(network.name, "none", *_rate(network.clean), *[MISSING] * (1 + wanted)))
        for p in network.points:
            reached = [percent(p.reached.share) if p.reached else MISSING] * wanted
            sure = percent(p.confidence, 1)
            rows.append(entries(network.name, f"{p.eps:g}", *_rate(p.error), sure, *reached))
    return Table(
        f"Error on {found.samples:,} images under attack",
        (*header, *["wanted class reached %"] * wanted),
        tuple(rows),
        notes=tuple(notices(found)),
    )


def _aimed(found: Robustness) -> bool:
    """Whether the attack is for one class."""
    return any(p.reached for n in found.networks for p in n.points)


def _rate(rate: Rate) -> tuple[str, str]:
    return percent(rate.share), f"{percent(rate.low)} to {percent(rate.high)}"


def _transfer(found: Robustness) -> list[Part]:
    if not any(len(t.tested) > 1 for t in found.transfers):
        return ["There is one network only, so nothing can transfer."]
    *others, last = found.transfers
    folded = [Folded(f"eps {t.eps:g}", tuple(transfer_tables(t))) for t in others]
    return [*transfer_tables(last), *folded]


def transfer_tables(transfer: Transfer) -> list[Table]:
    """Error of the column, and share of what fooled the row, both in per cent."""
    header = ("attacked", *transfer.tested)
    error = [
        tuple(Entry(text) for text in (name, *(percent(share, 1) for share in row)))
        for name, row in zip(transfer.attacked, transfer.error, strict=True)
    ]
    fooled = [
        tuple(Entry(text) for text in (name, *(percent(share, 1) for share in row)))
        for name, row in zip(transfer.attacked, transfer.fooled, strict=True)
    ]
    at = f"at eps {transfer.eps:g}"
    return [
        Table(f"Error in % of each column on images made against each row, {at}", header, tuple(error)),
        Table(f"What fools the row fools the column too, in %, {at}", header, tuple(fooled), notes=(FOOLED,)),
    ]


def _pictures(found: Robustness) -> list[Part]:
    if not found.galleries:
        if _aimed(found):
            return ["The attack made no network take an image that it was right about for the wanted class."]
        return ["The attack made no network change a right answer into a wrong one."]
    first, *others = [_gallery(gallery, _aimed(found)) for gallery in found.galleries]
    named = zip(others, found.galleries[1:], strict=True)
    return [first, *(Folded(gallery.name, (drawing,)) for drawing, gallery in named)]


def _gallery(gallery: Gallery, aimed: bool) -> Drawing:
    after = "takes for the wanted class after" if aimed else "is wrong about after"
    title = f"Images that fool {gallery.name} at eps {gallery.eps:g}"
    return Drawing(
        triples(gallery.triples, gallery.added, title=title),
        f"{title}: the image, what is added (after clipping; grey is nothing, white and black "
        f"are {largest_change(gallery.triples):.3g}), and the sum; above each image what {gallery.name} says "
        f"and how surely. Of all test images that it was right about before and {after}, these "
        f"have the largest sum of both confidences; {gallery.eps:g} is the smallest eps that fools so many.",
    )
