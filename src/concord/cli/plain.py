"""``concord plain train`` and ``concord plain show``: the network of source 003 in plain Python.

Example:
    $ concord plain train animals.toml --data photos/animals
"""

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from concord.cli import attend, plain_show
from concord.cli.options import Json, print_json
from concord.errors import DataError, DivergedError, UsageError

if TYPE_CHECKING:
    from concord.cli.plain_config import PlainConfig
    from concord.cli.plain_pictures import Pictures
    from concord.plain.cnn import CNN, Step


def plain_train(
    config: str | Path,
    data: str | Path,
    *,
    out: str | Path | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train the plain network on a folder of pictures; the losses, the answers and the files written.

    ``tell`` gets a line for every step and every epoch while it runs. With ``out``, curve.svg and steps.csv
    are written into that folder.
    """
    from random import Random

    from concord.cli import plain_config, plain_pictures

    settings = plain_config.read(Path(config))
    folder = _free(out)
    random = Random(settings.seed)
    network = _network(settings, random, str(config))
    pictures = plain_pictures.read(Path(data), settings.shape().input_shape)
    _check_classes(pictures, settings, str(config))
    for notice in pictures.notices:
        attend.tell(notice)
    for line in _summary(network, settings):
        tell(line)
    began = time.perf_counter()
    steps = _steps(network, pictures, settings, random, tell)
    seconds = time.perf_counter() - began
    answers = _answers(network, pictures, Path(data))
    if folder:
        _write(folder, steps, pictures, Path(data))
    return {
        "classes": list(pictures.classes),
        "notices": list(pictures.notices),
        "steps": [asdict(step) for step in steps],
        "epochs": _epochs(steps),
        "pictures": answers,
        "correct": sum(row["predicted"] == row["label"] for row in answers),
        "seconds": seconds,
        "out": str(folder) if folder else None,
    }


def _free(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--out {out}: is there already and not empty; give another name or remove it")
    return folder


def _network(config: "PlainConfig", random: Any, where: str) -> "CNN":
    from concord.plain.cnn import CNN

    try:
        return CNN(config.shape(), random)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _check_classes(pictures: "Pictures", config: "PlainConfig", where: str) -> None:
    from concord.data.text import printable

    if len(pictures.classes) != config.num_classes:
        raise DataError(
            f"{where}: num_classes = {config.num_classes}, but the pictures are of"
            f" {len(pictures.classes)} classes: {', '.join(map(printable, pictures.classes[:10]))}"
        )


def _summary(network: "CNN", config: "PlainConfig") -> list[str]:
    """What source 003 prints before it trains, with the sizes that the layers really have."""
    conv, pool = network.conv, network.pool
    inputs, hidden = len(network.dense1.weights[0]), len(network.dense1.weights)
    layers = (conv, network.dense1, network.dense2)
    parameters = sum(len(layer.weights) * len(layer.weights[0]) + len(layer.biases) for layer in layers)
    return [
        f"Input        {_by(conv.shape)}",
        f"Convolution  {len(conv.weights)} filters {conv.size}x{conv.size}, stride {conv.stride},"
        f" padding {conv.padding} -> {_by(conv.output_shape)}",
        f"Max-pooling  {pool.size}x{pool.size} -> {_by(pool.output_shape)} = {inputs:,} numbers",
        f"Dense        {inputs:,} -> {hidden} (ReLU)",
        f"Dense        {hidden} -> {config.num_classes} (softmax)",
        f"Parameters   {parameters:,}",
    ]


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _steps(
    network: "CNN", pictures: "Pictures", config: "PlainConfig", random: Any, tell: Callable[[str], None]
) -> "list[Step]":
    from concord.plain.cnn import train

    samples = list(zip(pictures.images, pictures.labels, strict=True))
    steps: list[Step] = []
    try:
        for step in train(network, samples, epochs=config.epochs, rate=config.learning_rate, random=random):
            steps.append(step)
            epoch = f"Epoch {step.epoch}/{config.epochs}"
            tell(f"{epoch} - Step {step.step}/{len(samples)} - Loss: {step.loss:.4f}")
            if step.step == len(samples):
                last = _epochs(steps)[-1]
                tell(f"{epoch} - Loss: {last['loss']:.4f} - Accuracy: {last['accuracy']:.4f}")
    except ArithmeticError as error:
        raise DivergedError(f"{error}: learning_rate = {config.learning_rate:g}") from None
    return steps


def _epochs(steps: "Sequence[Step]") -> list[dict[str, Any]]:
    """Mean loss and accuracy of every epoch, each sample as it was before its own update."""
    rows = []
    for epoch in range(1, steps[-1].epoch + 1):
        own = [step for step in steps if step.epoch == epoch]
        loss = sum(step.loss for step in own) / len(own)
        rows.append({"epoch": epoch, "loss": loss, "accuracy": sum(step.correct for step in own) / len(own)})
    return rows


def _answers(network: "CNN", pictures: "Pictures", data: Path) -> list[dict[str, Any]]:
    """What the trained network says of every picture."""
    from concord.plain.losses import softmax

    rows = []
    for path, image, label in zip(pictures.files, pictures.images, pictures.labels, strict=True):
        chances = softmax(network.forward(image))
        said = chances.index(max(chances))
        rows.append(
            {
                "file": str(path.relative_to(data)),
                "label": pictures.classes[label],
                "predicted": pictures.classes[said],
                "confidence": chances[said],
            }
        )
    return rows


def _write(folder: Path, steps: "Sequence[Step]", pictures: "Pictures", data: Path) -> None:
    from concord.report.plain_curve import curve
    from concord.training.files import disk_errors, replace

    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(["epoch", "step", "file", "loss", "correct"])
    for s in steps:
        file = pictures.files[s.sample].relative_to(data)
        writer.writerow([s.epoch, s.step, file, repr(s.loss), int(s.correct)])
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    replace(folder / "steps.csv", table.getvalue().encode("utf-8", "backslashreplace"))
    drawn = curve([s.loss for s in steps], [(e["loss"], e["accuracy"]) for e in _epochs(steps)])
    replace(folder / "curve.svg", drawn.encode())


def add_to(app: typer.Typer) -> None:
    verbs = typer.Typer(help="Networks in plain Python, to be followed with pencil.", no_args_is_help=True)
    verbs.command(
        "train",
        help="Train the network of source 003 on a folder of pictures.\n\n"
        "Example: concord plain train animals.toml --data photos/animals",
    )(train_command)
    verbs.command(
        "show",
        help="One training step of a tiny network with every number, forward and backward.\n\n"
        "Example: concord plain show",
    )(plain_show.show_command)
    app.add_typer(verbs, name="plain")


def train_command(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="Sizes, epochs, seed.", show_default=False)
    ],
    data: Annotated[Path, typer.Option(help="A folder of pictures.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results; default: runs/plain-NAME.")
    ] = None,
    json_: Json = False,
) -> None:
    chosen = out or _next(Path("runs") / f"plain-{config.stem}")
    found = plain_train(config, data, out=chosen, tell=(lambda text: None) if json_ else print)
    if json_:
        print_json(found)
        return
    for row in found["pictures"]:
        mark = "" if row["predicted"] == row["label"] else f"  (is {row['label']})"
        print(f"{row['file']:24} {row['predicted']}  {row['confidence']:.3f}{mark}")
    print(f"{found['correct']}/{len(found['pictures'])} right after training, {found['seconds']:.0f} s")
    print(f"{found['out']}/curve.svg, {found['out']}/steps.csv")


def _next(folder: Path) -> Path:
    """The folder, or with the first free number behind it."""
    names = [folder, *(folder.with_name(f"{folder.name}-{n}") for n in range(2, 10_000))]
    return next(name for name in names if not name.exists())
