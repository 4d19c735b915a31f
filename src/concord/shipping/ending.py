"""The end of a search: the network of the chosen way as files, their test, and what they had to beat."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from concord.bench.latency import latency_of_onnx
from concord.files.atomic import replace as put
from concord.runs.export import Exported, export
from concord.runs.export_deployed import example
from concord.runs.export_formats import ConversionError
from concord.runs.folder import RunFolder
from concord.shipping import int8, tested
from concord.shipping.baselines import best_baseline
from concord.shipping.budget import ALONE, ONCE, PLAIN
from concord.shipping.confidence import Confidence, confidence_of, set_metadata
from concord.shipping.limits import Limits, Needs, shown
from concord.shipping.onnx_trial import MEMBER
from concord.shipping.runner import Runner
from concord.shipping.shipped import Int8
from concord.shipping.tested import Tested
from concord.shipping.ways import ABOUT, NO_ROOM

FLOAT, EIGHT, SCRIPT = "model.onnx", "model.int8.onnx", "predict.py"


@dataclass(frozen=True, eq=False)
class Ending:
    """The files and their figures."""

    needs: Needs
    tested: Tested
    rivals: tuple[Tested, ...]
    int8: Int8
    confidence: Confidence | None
    notices: tuple[str, ...]


def ended(choice: Mapping[str, Any], needs: Needs, limits: Limits, seconds: float, runner: Runner) -> Ending:
    """Export the chosen network, look at the test part, and write the files that are used.

    ``seconds`` are those of the classifier of scikit-learn.
    """
    folder, material = runner.folder, runner.material
    run = runner.runs / choice["way"]
    confidence = confidence_of(runner.read(run))
    scaled = confidence is not None and confidence.own.temperature is not None
    written = export(run, folder / FLOAT, member=MEMBER, calibrated=scaled, observer=runner.observer)
    needs = replace(needs, bytes=written.bytes, milliseconds=_milliseconds(written.file, runner))
    about = f"{choice['network']}, {ABOUT[choice['way']]}"
    whole = tested.of_file(written.file.read_bytes(), "shipped", about, material.splits.test)
    small = _eight(written, whole, limits, runner)
    rivals, missing = _rivals(choice, seconds, runner)
    over = [
        f"{shown(name, getattr(needs, name))} of {FLOAT} are over the limit of"
        f" {shown(name, limits.given()[name])}: it was met when the search began"
        for name in limits.over(needs)
    ]
    return Ending(needs, whole, rivals, small, confidence, (*over, *missing))


def _milliseconds(file: Path, runner: Runner) -> float:
    """Of one image, on one thread: the median."""
    return 1000 * latency_of_onnx(file, example(runner.material.interface.shape, 1)).median


def _rivals(
    choice: Mapping[str, Any], seconds: float, runner: Runner
) -> tuple[tuple[Tested, ...], list[str]]:
    """Plain training and teaching once of the same network, where they are not what is shipped, and a
    classifier of scikit-learn; and a sentence about each that is missing."""
    splits = runner.material.splits
    ran = [row["way"] for row in choice["rows"]]
    found: list[Tested] = []
    missing: list[str] = []
    for way in (PLAIN, ONCE):
        if choice["way"] == way or (way == PLAIN and choice["way"] == ALONE):
            continue
        if way in ran:
            found.append(tested.of_run(RunFolder(runner.runs / way), way, f"the same network, {ABOUT[way]}"))
        else:
            why = choice["left_out"].get(way, NO_ROOM)
            missing.append(f"a rival is missing, the same network {ABOUT[way]}: {why}")
    seed = runner.material.data.seed
    kept = runner.journal.once("baseline", lambda: best_baseline(splits, seconds, seed, runner.stop).kept())
    found.append(Tested.of(kept, len(splits.test)))
    return tuple(found), missing


def _eight(written: Exported, whole: Tested, limits: Limits, runner: Runner) -> Int8:
    """The file in 8 bits, written where nothing speaks against it, with the reason."""
    splits, file = runner.material.splits, runner.folder / EIGHT
    file.unlink(missing_ok=True)
    try:
        original = written.file.read_bytes()
        content = int8.quantised(original, int8.calibration(splits))
        about = set_metadata(content, int8.description(original), splits.valid)
        content = int8.described(content, about)
        found = tested.of_file(content, "int8", whole.about, splits.test)
    except ConversionError as error:
        return Int8(False, f"ONNX Runtime cannot make a file of 8 bits: {error}")
    loss = tested.against(found, whole)
    put(file, content)
    took = _milliseconds(file, runner)
    reason = _against_int8(loss, len(content), took, written.bytes, limits)
    if reason:
        file.unlink()
    kept = f"its error is not proven to be larger: {100 * loss.difference:+.2f} points"
    return Int8(not reason, reason or kept, found, loss, len(content), took)


def _against_int8(loss: tested.Against, size: int, took: float, whole: int, limits: Limits) -> str:
    """Why the file of 8 bits is not shipped; empty if nothing speaks against it."""
    if loss.low > 0:
        return (
            f"8 bits lose {100 * loss.difference:.2f} points (95 % interval {100 * loss.low:.2f} to"
            f" {100 * loss.high:.2f}), more than chance explains: the float file is shipped alone"
        )
    if size >= whole:
        return f"the file of 8 bits has {size:,} bytes, no fewer than the float file with {whole:,}"
    if limits.milliseconds is not None and took > limits.milliseconds:
        return f"in 8 bits an image takes {took:.3g} ms here, over the limit of {limits.milliseconds:g} ms"
    return ""
