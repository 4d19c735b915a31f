"""The report of a search: one HTML file, whose first sentence is what was found and how sure that is."""

from concord.report.document import document
from concord.report.parts import Notice, Part, Section
from concord.shipping.asked import HOUR
from concord.shipping.ending import EIGHT, FLOAT, SCRIPT
from concord.shipping.shipped import Shipped
from concord.shipping.tables import int8_table, needs_table, rivals_table, trials_table


def page(shipped: Shipped) -> str:
    """The whole file."""
    opening: list[Part] = [shipped.sentence(), _asked(shipped), *map(Notice, shipped.notices)]
    sections = [
        Section("test", "What it had to beat", (rivals_table(shipped),)),
        Section("needs", "What it needs", (needs_table(shipped), int8_table(shipped))),
        Section("search", "How it was found", (_search(shipped), *trials_table(shipped), _time(shipped))),
        Section("use", "How to use it", (_use(shipped),)),
    ]
    return document(f"{shipped.network}: shipped", opening, sections)


def _asked(shipped: Shipped) -> str:
    asked = shipped.asked
    limits = f"with {asked.limits}" if asked.limits.given() else "without limits"
    return f"Asked for: a network for {asked.data.source} {limits}, found within {asked.hours:g} hours."


def _search(shipped: Shipped) -> str:
    if not shipped.plan.halving.rungs:
        return (
            "One candidate alone was under the limits, or the hours had no room for short runs of several:"
            f" {shipped.network} was trained in full in each way below. The way is chosen by the validation"
            " error."
        )
    return (
        f"{len(shipped.plan.entrants)} candidates, of every family the widest under the limits that there was"
        " time for, were trained in short runs of which the better half was run again for longer; the best of"
        " them was then trained in full in each way below. Every choice is by the validation error; of equal"
        " networks the one with fewer MACs is taken."
    )


def _time(shipped: Shipped) -> str:
    plan, took = shipped.plan.seconds, shipped.seconds
    return (
        f"The plan expected {plan / 60:.1f} minutes, and the search took {took / 60:.1f}"
        f" ({100 * (took / plan - 1):+.0f} %), of {shipped.asked.seconds / HOUR:g} hours."
    )


def _use(shipped: Shipped) -> str:
    model = EIGHT if shipped.int8.shipped else FLOAT
    return f"python {SCRIPT} photo.jpg names the class with {model}. It needs numpy, pillow and onnxruntime."
