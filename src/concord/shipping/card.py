"""The model card of what is shipped, in Markdown under the hub's header.

Source: M. Mitchell et al., "Model cards for model reporting", 2019; the header is that of Hugging Face's hub.
Licence, origin of the images and forbidden uses, which no program knows, are left to whoever publishes it.
"""

import json

from concord.files.text import printable
from concord.report.card import what_it_names
from concord.report.tables import escape, markdown
from concord.report.uncertainty import sets_table, temperature_table
from concord.runs.interface import Interface
from concord.shipping.ending import EIGHT, FLOAT, SCRIPT
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.shipped import Shipped
from concord.shipping.tables import int8_table, needs_table, rivals_table


def model_card(shipped: Shipped, interface: Interface) -> str:
    """The whole file."""
    parts = [
        f"---\n{_header(shipped)}\n---",
        f"# {escape(shipped.network)}",
        escape(shipped.sentence()),
        f"## What it is for\n\n{what_it_names(interface.shape, interface.classes)}.",
        f"## How to use it\n\n{_how(shipped)}",
        f"## Test scores\n\n{markdown(rivals_table(shipped))}\n{markdown(int8_table(shipped))}",
        *_sure(shipped),
        f"## What it needs\n\n{markdown(needs_table(shipped))}",
        f"## Training\n\n{_training(shipped)}",
        "## To be added by whoever publishes it\n\nLicence. Origin of the images, and consent to their use."
        " Intended users. Uses that are out of scope.",
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _sure(shipped: Shipped) -> list[str]:
    """Temperature and sets of labels, where the validation part could tell."""
    confidence = shipped.confidence
    if confidence is None:
        return []
    before = {MEMBER: (confidence.nll, confidence.ece)}
    tables = [temperature_table(confidence.found, before), sets_table(confidence.found)]
    return ["## How sure it is\n\n" + "\n".join(map(markdown, tables))]


def _header(shipped: Shipped) -> str:
    """YAML, each value as JSON, which is YAML too."""
    metric = {"type": "accuracy", "name": "accuracy", "value": 1 - shipped.tested.error}
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"type": "custom", "name": shipped.asked.data.source},
        "metrics": [metric],
    }
    fields = {
        "library_name": "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["concord", "onnx", shipped.network],
        "metrics": ["accuracy"],
        "model-index": [{"name": shipped.network, "results": [result]}],
    }
    return "\n".join(f"{k}: {printable(json.dumps(v, ensure_ascii=False))}" for k, v in fields.items())


def _how(shipped: Shipped) -> str:
    eight = (
        f" `{EIGHT}` takes the same pixels; the script uses it if its name is put there."
        if shipped.int8.shipped
        else ""
    )
    return (
        f"`python {SCRIPT} photo.jpg ...` names the class of image files with `{FLOAT}`; it needs numpy,"
        " pillow and onnxruntime. Both the normalisation of the pixels and the softmax are inside the file;"
        f" its metadata say how an image becomes the pixels that it takes.{eight}"
    )


def _training(shipped: Shipped) -> str:
    data = shipped.asked.data
    return (
        f"{escape(shipped.network)} was {escape(shipped.about)}, for {shipped.epochs} epochs, on"
        f" {escape(data.source)}. It was chosen on the validation part alone; the test part was looked at"
        " once. results.json holds every decision with its figures."
    )
