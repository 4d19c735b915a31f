"""The table of shares: what each member keeps of the plain ensemble's gain, and at which cost."""

from concord.report.records import StudyView
from concord.report.shares import ONE_NETWORK, Share, shares
from concord.report.tables import Entry, Table, entries
from concord.report.text import MISSING, decimal, percent, points, probability
from concord.studies.settings import SNAPSHOTS

HEADER = (
    "member",
    "cost",
    "weight",
    "seeds",
    "share % (95 %)",
    "gain (95 %)",
    "p",
    "MACs",
    "times plain",
    "% per plain",
)
OF_SNAPSHOTS = (
    "Snapshots: not the member alone, but what its weights at the ends of all cycles predict together, with"
    " one pass for each cycle."
)
OF_ONE_NETWORK = (
    "One network: what stands for all members; its gain and that of the plain ensemble are against the mean"
    " error of the plain members."
)


def share_table(study: StudyView, members: tuple[str, ...]) -> Table:
    """A row for each member in each row of the study, and for each network in place of all members."""
    found = shares(study, members)
    reasons = dict.fromkeys(f"No share of {one.member}: {one.reason}." for one in found if one.reason)
    notes = (
        "Gain: test error of the member in the plain ensemble minus that in this row, in percentage points;"
        " above zero is better. Share: the mean gain divided by the mean of what the plain ensemble itself"
        " gains on the member, with Fieller's interval for paired seeds. p: signs of the gains flipped in all"
        " ways; it is not corrected for the number of rows.",
        "MACs: multiply-accumulates of the forward and backward passes of training until this member was"
        " finished, with those of the members from which it learned and the training of its teachers. Times"
        " plain: the same as a multiple of the training of the plain ensemble. % per plain: the share divided"
        " by this multiple.",
        *([OF_ONE_NETWORK] if any(one.member == ONE_NETWORK for one in found) else []),
        *([OF_SNAPSHOTS] if any(one.setting[0] == SNAPSHOTS for one in found) else []),
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
