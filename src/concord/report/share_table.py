"""The table of shares: what each member keeps of the plain ensemble's gain, and at which cost."""

from concord.report.records import StudyView
from concord.report.shares import Share, shares
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, decimal, percent, points, probability

HEADER = (
    "member",
    "cost",
    "weight",
    "seeds",
    "share of the ensemble's gain, % (95 %)",
    "gain, points (95 %)",
    "p, sign flips",
    "training, MACs",
    "training, times the plain ensemble",
    "share per cost, %",
)


def share_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """A row for each member in each row of the study."""
    found = shares(study, members)
    reasons = dict.fromkeys(f"No share of {one.member}: {one.reason}." for one in found if one.reason)
    notes = (
        "Gain: test error of the member in the plain ensemble minus that in this row, in percentage points;"
        " above zero is better. Share: the mean gain divided by the mean of what the plain ensemble itself"
        " gains on the member, with Fieller's interval for paired seeds. p: signs of the gains flipped in all"
        " ways; it is not corrected for the number of rows.",
        "Training: multiply-accumulates of forward and backward passes until this member was finished, with"
        " those of the members from which it learned and the training of its teachers; share per cost: for"
        " each training of the plain ensemble that this took.",
        *reasons,
    )
    caption = f"Share of the plain ensemble's gain that members keep: {' + '.join(members)}"
    return Table(caption, HEADER, tuple(_row(one) for one in found), names=2, notes=notes)


def _row(one: Share) -> tuple[Entry, ...]:
    return entries(
        one.member,
        one.setting[0],
        f"{one.setting[1]:g}",
        f"{one.gain.n}",
        _share(one),
        _gain(one),
        probability(one.p) if one.gain.n > 1 else MISSING,
        MISSING if one.macs is None else f"{one.macs:.3g}",
        decimal(one.times, 2),
        percent(one.per_cost, 0),
    )


def _share(one: Share) -> str:
    if one.share is None:
        return MISSING
    low, high = (percent(x, 0) for x in (one.share.low, one.share.high))
    return f"{percent(one.share.value, 0)} ({low} to {high})"


def _gain(one: Share) -> str:
    text = points(one.gain.mean)
    return text if one.gain.low is None else f"{text} ({points(one.gain.low)} to {points(one.gain.high)})"
