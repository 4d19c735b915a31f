"""The report of a search: one HTML file, whose first sentence is what was found and how sure that is."""

from concord.report.document import document
from concord.report.parts import Notice, Part, Section
from concord.report.uncertainty import uncertainty_parts
from concord.shipping.asked import HOUR
from concord.shipping.ending import EIGHT, FLOAT, SCRIPT
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.shipped import Shipped
from concord.shipping.tables import int8_table, needs_table, rivals_table, trials_table


def page(shipped: Shipped) -> str:
    """The whole file."""
    opening: list[Part] = [shipped.sentence(), _asked(shipped), *map(Notice, shipped.notices)]
    sections = [
        Section("test", "What it had to beat", (rivals_table(shipped),)),
        Section("needs", "What it needs", (needs_table(shipped), int8_table(shipped))),
        *sure(shipped),
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
    again = (
        " of which the better half was run again for longer" if len(shipped.plan.halving.rungs) > 1 else ""
    )
    return (
        f"{len(shipped.plan.entrants)} candidates, of every family the widest under the limits that there was"
        f" time for, were trained in short runs{again}; the best of them was then trained in full in each way"
        " below. Every choice is by the validation error; of equal networks the one with fewer MACs is taken."
    )


def sure(shipped: Shipped) -> tuple[Section, ...]:
    """How far the probabilities can be believed, where the validation part could tell."""
    confidence = shipped.confidence
    if confidence is None:
        return ()
    before = {MEMBER: (confidence.nll, confidence.ece)}
    inside = (
        ()
        if confidence.own.temperature is None
        else (f"{FLOAT} divides its logits by T, so that its probabilities are the scaled ones.",)
    )
    parts = (*inside, *uncertainty_parts(confidence.found, before))
    return (Section("uncertainty", "How sure it is", parts),)


def _time(shipped: Shipped) -> str:
    plan, took = shipped.plan.seconds, shipped.seconds
    return (
        f"The plan expected {plan / 60:.1f} minutes, and the search took {took / 60:.1f}"
        f" ({100 * (took / plan - 1):+.0f} %), of {shipped.asked.seconds / HOUR:g} hours."
    )


def _use(shipped: Shipped) -> str:
    eight = f" {EIGHT} takes the same pixels: put its name there to use it." if shipped.int8.shipped else ""
    return (
        f"python {SCRIPT} photo.jpg names the class with {FLOAT}, whose figures are above. It needs numpy,"
        f" pillow and onnxruntime.{eight}"
    )
