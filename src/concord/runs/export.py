"""One member of a run, or the ensemble, as a file that other programs load."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from concord.consensus.names import ENSEMBLE
from concord.errors import UsageError, amount
from concord.files.atomic import deliver
from concord.files.place import require_folder_of
from concord.layers.packed.network import has_binary_layers
from concord.runs.export_deployed import (
    BATCHES,
    TOLERANCE,
    TOLERANCE_OF_SIGNS,
    Deployed,
    example,
    largest_difference,
    pictures,
)
from concord.runs.export_description import described
from concord.runs.export_formats import ConversionError, need_packages, safetensors_file
from concord.runs.export_made import made
from concord.runs.export_openvino import openvino_files
from concord.runs.export_script import script_for
from concord.runs.label_sets import required_temperature
from concord.runs.loading import Loaded, load_run
from concord.runs.machine import settled
from concord.runs.packed_file import opened, packed_file
from concord.training.observer import SILENT, Observer

FORMATS = {".onnx": "onnx", ".pt2": "torch.export", ".safetensors": "safetensors", ".xml": "openvino"}


@dataclass(frozen=True)
class Exported:
    """What was written, and how far its probabilities are from those of ``predict`` at most."""

    file: Path
    member: str
    classes: tuple[str, ...]
    bytes: int
    format: str
    checked_batches: tuple[int, ...] = ()
    checked_steps: tuple[int, ...] = ()  # of sequences
    largest_difference: float | None = None  # None for weights alone, which compute nothing
    script: str | None = None  # of an ONNX file of pictures: a program that labels image files with it

    def to_dict(self) -> dict[str, Any]:
        """What ``concord export --json`` prints."""
        plain: dict[str, Any] = {
            "file": str(self.file),
            "member": self.member,
            "classes": list(self.classes),
            "bytes": self.bytes,
            "format": self.format,
        }
        if self.largest_difference is not None:
            plain["checked_batches"] = list(self.checked_batches)
            if self.checked_steps:
                plain["checked_steps"] = list(self.checked_steps)
            plain["largest_difference"] = self.largest_difference
        return plain if self.script is None else {**plain, "script": self.script}


def export(
    run: Path,
    to: Path,
    *,
    member: str = ENSEMBLE,
    script: Path | None = None,
    packed: bool = False,
    calibrated: bool = False,
    allow_code: Collection[str] = (),
    observer: Observer = SILENT,
) -> Exported:
    """Write one member or the ensemble to ``to``; its suffix decides: .onnx, .pt2, .xml or .safetensors.

    Of OpenVINO the weights are a second file, FILE.bin. ``script`` is a Python file to write beside an ONNX
    file, which labels image files without concord.

    ``packed``: a .safetensors file of one member of the zoo, whose binary weights are bits; ``predict`` takes
    it in the place of a run.

    ``calibrated``: logits are divided by the temperature that the run found on its validation part;
    UsageError where it found none, and for .safetensors, whose weights compute no probabilities.

    Only the member that is named is built. What cannot be written leaves an older file as it was
    (ResourceError); a network that the format cannot hold is a UsageError.
    """
    suffix = require_format(to, script)
    if packed:
        require_safetensors(to)
    if calibrated and suffix == ".safetensors":
        raise UsageError(f"{to}: weights give no probabilities to calibrate; export to .onnx, .pt2 or .xml")
    loaded = load_run(run, member=member, allow_code=allow_code, device="cpu", observer=observer)
    chosen = loaded.chosen(member)
    if suffix == ".safetensors" and len(chosen) > 1:
        raise UsageError(f"safetensors holds the weights of one member: name one of {', '.join(chosen)}")
    temperature = required_temperature(loaded, member) if calibrated else 1.0
    with settled(loaded.config):
        content, weights, worst = (
            (_packed(to, loaded, chosen), b"", 0.0)
            if packed
            else _made(loaded, chosen, member, suffix, temperature)
        )
    text = _script(loaded, to, script) if suffix == ".onnx" else None
    if weights:
        deliver(to.with_suffix(".bin"), weights)
    deliver(to, content)
    if script and text:
        deliver(script, text.encode())
    return Exported(
        to,
        member,
        loaded.interface.classes,
        len(content) + len(weights),
        FORMATS[suffix],
        () if worst is None else BATCHES,
        largest_difference=worst,
        script=text,
    )


def require_safetensors(to: Path) -> None:
    """UsageError for a packed file of another suffix."""
    if to.suffix.lower() != ".safetensors":
        raise UsageError(f"{to}: a packed file is a .safetensors file")


def require_format(to: Path, script: Path | None = None) -> str:
    """``suffix_of``; UsageError also if a package is missing that the format needs."""
    suffix = suffix_of(to, script)
    need_packages(suffix)
    return suffix


def suffix_of(to: Path, script: Path | None = None) -> str:
    """The suffix, which decides the format; UsageError for others, and for a place that does not exist."""
    suffix = to.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"{to}: the suffix decides the format, expected one of {', '.join(FORMATS)}")
    if script and suffix != ".onnx":
        raise UsageError(f"the script labels with an ONNX file; {to} is not one")
    if script and script.absolute() == to.absolute():
        raise UsageError(f"{script} cannot hold both the network and the script")
    for file in filter(None, (to, script)):
        require_folder_of(file)
    return suffix


def _script(loaded: Loaded, to: Path, script: Path | None) -> str | None:
    """Image files have one or three channels; for other data there is no script."""
    if loaded.interface.shape[0] in (1, 3):
        return script_for(to, script)
    if script:
        raise UsageError(
            f"images of {amount(loaded.interface.shape[0], 'channel')} are not read from picture files"
        )
    return None


def _made(
    loaded: Loaded, chosen: Mapping[str, nn.Module], member: str, suffix: str, temperature: float
) -> tuple[bytes, bytes, float | None]:
    """The file, a second one of weights, and the largest difference of any probability from ``predict``'s."""
    about, normalise = described(loaded, member, temperature), loaded.interface.normalise
    if suffix == ".safetensors":
        (network,) = chosen.values()
        return safetensors_file(network, about, loaded.interface.plain()), b"", None
    if suffix == ".xml":
        return _openvino(loaded, chosen, member, about, temperature)
    content, worst = made(
        chosen,
        lambda members: Deployed(members, normalise, temperature),
        pictures(loaded.interface.shape),
        about,
        suffix,
        lambda ask: largest_difference(ask, loaded, member, temperature),
    )
    return content, b"", worst


def _packed(to: Path, loaded: Loaded, chosen: Mapping[str, nn.Module]) -> bytes:
    """The packed file of one member, whose probabilities equal those of the run bit for bit."""
    ((member, network),) = chosen.items()
    (zoo_name,) = (m.network for m in loaded.config.members if m.name == member)
    content = packed_file(network, member, zoo_name, described(loaded, member), loaded.interface)
    read = opened(to, content)
    for batch in BATCHES:
        pixels = example(loaded.interface.shape, batch)
        if not torch.equal(read.probabilities(pixels), loaded.probabilities(pixels, member)):
            raise UsageError(f"{member} packed differs from `concord predict`; nothing was written")
    return content


def _openvino(
    loaded: Loaded,
    chosen: Mapping[str, nn.Module],
    member: str,
    about: Mapping[str, str],
    temperature: float,
) -> tuple[bytes, bytes, float]:
    network = Deployed(list(chosen.values()), loaded.interface.normalise, temperature)
    most = TOLERANCE_OF_SIGNS if has_binary_layers(network) else TOLERANCE
    try:
        files = openvino_files(network, example(loaded.interface.shape, 1), about)
        return files.xml, files.weights, largest_difference(files.ask, loaded, member, temperature, most)
    except ConversionError as error:
        raise UsageError(
            f"{member} cannot be exported as .xml: {error}. Change that part of the network, or export to"
            " .onnx, .pt2 (torch.export) or .safetensors (the weights of one member)"
        ) from error
