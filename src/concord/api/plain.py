"""Training the network of plain Python on a folder of pictures."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from concord.errors import DataError, DivergedError, UsageError
from concord.files.atomic import disk_errors, write_text
from concord.files.text import printable
from concord.plain.cnn import CNN, Step, train
from concord.report.plain_curve import curve
from concord.runs import plain_config, plain_pictures
from concord.runs import plain_results as results
from concord.runs.plain_config import PlainConfig
from concord.runs.plain_pictures import Pictures
from concord.runs.plain_results import epochs_of
from concord.training.observer import SILENT, Observer

LARGEST = 10_000_000  # weights


def plain_train(
    config: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    show: Callable[[str], None] = lambda text: None,
    observer: Observer = SILENT,
) -> dict[str, Any]:
    """Train the plain network on a folder of pictures; the losses, the answers and the files written.

    ``show`` gets a line for every step and every epoch while it runs. With ``out``, curve.svg and steps.csv
    are written into that folder, also when the training ends early.

    Raises UsageError for a configuration or folder that cannot be used, DataError for pictures that cannot,
    DivergedError when a loss or an answer is not a finite number.
    """
    settings = plain_config.read(Path(config))
    random = Random(settings.seed)
    network = _network(settings, random, str(config))
    pictures = plain_pictures.read(Path(data), settings.shape().input_shape)
    _check_classes(pictures, settings, str(config))
    folder = _made(out)
    for notice in pictures.notices:
        observer.notice(notice)
    for line in _summary(network, settings):
        show(line)
    began = time.perf_counter()
    steps: list[Step] = []
    try:
        for step in _steps(network, pictures, settings, random, show):
            steps.append(step)
        answers = results.answers(network, pictures, Path(data))
    finally:
        if folder and steps:
            results.write(folder, steps, pictures, Path(data))
            write_curve(folder, steps, len(pictures.files))
    seconds = time.perf_counter() - began
    return {
        "classes": list(pictures.classes),
        "notices": list(pictures.notices),
        "steps": [asdict(step) for step in steps],
        "epochs": epochs_of(steps),
        "pictures": answers,
        "correct": sum(row["predicted"] == row["label"] for row in answers),
        "seconds": seconds,
        "out": str(folder) if folder else None,
    }


def write_curve(folder: Path, steps: Sequence[Step], pictures: int) -> None:
    """curve.svg beside the steps."""
    epochs = [(e["loss"], e["accuracy"]) for e in epochs_of(steps)]
    write_text(folder / "curve.svg", curve([s.loss for s in steps], epochs, pictures))


def _made(out: str | Path | None) -> Path | None:
    """The folder for the results, made before anything is trained for it."""
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {out}: expected the name of a folder, this is a file")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"--out {out}: is there already and not empty; give another name or remove it")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _network(config: PlainConfig, random: Any, where: str) -> CNN:
    try:
        parameters = config.shape().parameters()
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    if parameters > LARGEST:
        raise UsageError(
            f"{where}: {parameters:,} weights are too many for plain Python, {LARGEST:,} at most;"
            " a smaller dense1.output_size, conv.num_filters or input_shape helps"
        )
    return CNN(config.shape(), random)


def _check_classes(pictures: Pictures, config: PlainConfig, where: str) -> None:
    if len(pictures.classes) != config.num_classes:
        raise DataError(
            f"{where}: num_classes = {config.num_classes}, but the pictures are of"
            f" {len(pictures.classes)} classes: {', '.join(map(printable, pictures.classes[:10]))}"
        )


def _summary(network: CNN, config: PlainConfig) -> list[str]:
    """What the USTH CNN prints before it trains, with the sizes that the layers really have."""
    conv, pool = network.conv, network.pool
    inputs, hidden = config.shape().features(), config.dense1.output_size
    return [
        f"Input        {_by(conv.shape)}",
        f"Convolution  {len(conv.weights)} filters {conv.size}x{conv.size}, stride {conv.stride},"
        f" padding {conv.padding} -> {_by(conv.output_shape)}",
        f"Max-pooling  {pool.size}x{pool.size} -> {_by(pool.output_shape)} = {inputs:,} numbers",
        f"Dense        {inputs:,} -> {hidden} (ReLU)",
        f"Dense        {hidden} -> {config.num_classes} (softmax)",
        f"Parameters   {config.shape().parameters():,}",
    ]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _steps(
    network: CNN, pictures: Pictures, config: PlainConfig, random: Any, show: Callable[[str], None]
) -> Iterator[Step]:
    """The steps of the training, each told, and each epoch too."""
    samples = list(zip(pictures.images, pictures.labels, strict=True))
    own: list[Step] = []  # of this epoch
    try:
        for step in train(network, samples, epochs=config.epochs, rate=config.learning_rate, random=random):
            own.append(step)
            epoch = f"Epoch {step.epoch}/{config.epochs}"
            show(f"{epoch} - Step {step.step}/{len(samples)} - Loss: {_loss(step.loss)}")
            if step.step == len(samples):
                whole = epochs_of(own)[-1]
                show(f"{epoch} - Loss: {_loss(whole['loss'])} - Accuracy: {whole['accuracy']:.4f}")
                own = []
            yield step
    except ArithmeticError as error:
        raise DivergedError(f"{error}: learning_rate = {config.learning_rate:g}") from None


def _loss(value: float) -> str:
    """Four digits after the point, as the source prints it, while that can be read."""
    return f"{value:.4f}" if value < 1e4 else f"{value:.4g}"
