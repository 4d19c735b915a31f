"""What attacks did to networks, as one HTML page."""

from collections.abc import Sequence

from concord.report.document import document
from concord.report.parts import Drawing, Folded, Notice, Part, Section
from concord.report.robustness_figures import Line, eps_chart, largest_change, triples
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, percent
from concord.runs.attack_records import Attacked, Gallery, Rate, Robustness, Transfer, notices

FOOLED = (
    "Read a row as: of the images that fooled the network of this row and that the network of the column got "
    "right before, the share (in %) that fools the network of the column too. Any wrong answer counts, "
    "whether or not the attack was for one class."
)


def robustness_page(found: Robustness) -> str:
    """One HTML document."""
    first: list[Part] = [
        *map(_sentence, found.networks),
        found.method,
        *map(Notice, notices(found)),
        _curve(found),
    ]
    plan: list[tuple[str, str, Sequence[Part]]] = [
        ("errors", "Error under attack", [error_table(found)]),
        ("transfer", "Transfer", _transfer(found)),
        ("pictures", "What the attack adds", _pictures(found)),
    ]
    return document(found.title, first, [Section(key, title, tuple(parts)) for key, title, parts in plan])


def _sentence(network: Attacked) -> str:
    worst = network.points[-1]
    return (
        f"{network.name} is wrong on {percent(network.clean.share)} % of the unchanged images and on "
        f"{percent(worst.error.share)} % at eps {worst.eps:g}."
    )


def _curve(found: Robustness) -> Drawing:
    lines = [
        Line(n.name, [0.0, *(p.eps for p in larger)], [n.clean, *(p.error for p in larger)])
        for n in found.networks
        for larger in [[p for p in n.points if p.eps]]
    ]
    caption = f"Error on {found.samples:,} test images, with 95 % intervals (Wilson)."
    return Drawing(eps_chart(lines, title="Error against eps"), caption)


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
        f"are {largest_change(gallery.triples):.3g}), and the sum; above each image the class that "
        f"{gallery.name} predicts and its probability. Of all test images that it was right about before "
        f"and {after}, these have the largest sum of both confidences; {gallery.eps:g} is the smallest eps "
        "that fools this many.",
    )
