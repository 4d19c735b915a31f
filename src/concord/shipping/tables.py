"""Tables of what is shipped, for the report and the model card."""

from concord.report.tables import Entry, Table, entries, scored
from concord.report.text import percent, probability
from concord.shipping.limits import shown
from concord.shipping.shipped import Shipped


def rivals_table(shipped: Shipped) -> Table:
    """The network and its rivals on the test part, and the differences with their intervals."""
    rows = [shipped.tested.to_dict(), *(rival.to_dict() for rival in shipped.rivals)]
    errors = scored([row["test_error"] for row in rows], percent)
    apart = ["", *(_interval(100 * p.difference, 100 * p.low, 100 * p.high) for p in shipped.pairs)]
    chance = ["", *(probability(pair.p) for pair in shipped.pairs)]
    shown_rows = tuple(
        (Entry(row["name"]), Entry(row["about"]), error, *entries(_of(row), difference, p))
        for row, error, difference, p in zip(rows, errors, apart, chance, strict=True)
    )
    header = ("network", "what", "test error %", "95 %", "shipped minus rival, points", "p")
    notes = (
        f"{len(shipped.tested.wrong):,} test images, looked at once. Errors have Wilson's interval."
        " Differences are of the same images: the interval of Agresti and Min (2005), p of McNemar's exact"
        " test. Both are for the choice of the test images, not for another training.",
    )
    return Table("Test errors", header, shown_rows, names=2, notes=notes)


def _of(row: dict[str, float]) -> str:
    return f"{percent(row['low'])} to {percent(row['high'])}"


def _interval(middle: float, low: float, high: float) -> str:
    return f"{middle:+.2f} ({low:+.2f} to {high:+.2f})"


def needs_table(shipped: Shipped) -> Table:
    """What the network needs, beside the limits."""
    limits = shipped.asked.limits.given()
    needs = shipped.needs
    values = {
        "parameters": needs.parameters,
        "macs": needs.macs,
        "bytes": needs.bytes,
        "milliseconds": needs.milliseconds,
    }
    eight = {"bytes": shipped.int8.bytes, "milliseconds": shipped.int8.milliseconds}
    rows = tuple(
        entries(
            name,
            "" if value is None else shown(name, value),
            _shown(name, eight.get(name)),
            _shown(name, limits.get(name)),
        )
        for name, value in values.items()
    )
    notes = (
        "Parameters and multiply-accumulates (MACs) are exact. Milliseconds: the median of one image in ONNX"
        " Runtime on one thread of the machine of the search. The limits hold for the float file.",
    )
    return Table("Needs and limits", ("what", "float", "int8", "limit"), rows, notes=notes)


def _shown(name: str, value: float | None) -> str:
    return "" if value is None else shown(name, value)


def int8_table(shipped: Shipped) -> Table:
    """The file of 8 bits beside the float one."""
    int8 = shipped.int8
    row = int8.to_dict()
    known = int8.tested is not None and int8.loss is not None
    loss = int8.loss
    cells = entries(
        "int8",
        "yes" if int8.shipped else "no",
        percent(row["test_error"]) if known else "",
        _interval(100 * loss.difference, 100 * loss.low, 100 * loss.high) if loss is not None else "",
        int8.reason,
    )
    header = ("file", "shipped", "test error %", "int8 minus float, points", "why")
    return Table("8 bits", header, (cells,))


def trials_table(shipped: Shipped) -> list[Table]:
    """Every rung of the search, and the ways: validation errors, of which the smallest was taken."""
    found = []
    for decision in shipped.decisions:
        rows = decision["rows"]
        errors = scored([row["valid_error"] for row in rows], percent)
        first = [row["about" if "about" in row else "network"] for row in rows]
        cells = tuple(
            (Entry(name), error, Entry(f"{row['seconds']:.0f}"))
            for name, error, row in zip(first, errors, rows, strict=True)
        )
        notes = [f"{name}: {reason}" for name, reason in decision["left_out"].items()]
        caption = f"{decision['step']}: {decision['epochs']} epochs, chosen: {', '.join(decision['chosen'])}"
        found.append(Table(caption, ("what", "validation error %", "seconds"), cells, notes=tuple(notes)))
    return found
