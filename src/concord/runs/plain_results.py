"""What is kept of a training in plain Python: epochs, answers and steps.csv."""

import csv
import io
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from concord.errors import DivergedError
from concord.files.atomic import write_text
from concord.plain.cnn import CNN, Step
from concord.plain.losses import softmax
from concord.runs.plain_pictures import Pictures


def epochs_of(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Mean loss and accuracy of every epoch, each sample as it was before its own update."""
    rows = []
    for epoch in dict.fromkeys(step.epoch for step in steps):
        own = [step for step in steps if step.epoch == epoch]
        loss = sum(step.loss for step in own) / len(own)
        rows.append({"epoch": epoch, "loss": loss, "accuracy": sum(step.correct for step in own) / len(own)})
    return rows


def answers(network: CNN, pictures: Pictures, data: Path) -> list[dict[str, Any]]:
    """What the trained network says of every picture."""
    rows = []
    for path, image, label in zip(pictures.files, pictures.images, pictures.labels, strict=True):
        logits = network.forward(image)
        if not all(map(isfinite, logits)):
            raise DivergedError("the last update made the weights too large; a smaller learning_rate helps")
        chances = softmax(logits)
        likeliest = chances.index(max(chances))
        rows.append(
            {
                "file": str(path.relative_to(data)),
                "label": pictures.classes[label],
                "predicted": pictures.classes[likeliest],
                "confidence": chances[likeliest],
            }
        )
    return rows


def write(folder: Path, steps: Sequence[Step], pictures: Pictures, data: Path) -> None:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["epoch", "step", "file", "loss", "correct"])
    for s in steps:
        file = pictures.files[s.sample].relative_to(data)
        writer.writerow([s.epoch, s.step, file, repr(s.loss), int(s.correct)])
    write_text(folder / "steps.csv", table.getvalue())
