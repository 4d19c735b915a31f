"""From the folder of a run on sequences to what its report is made of."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from concord.data.dataset import Dataset
from concord.data.sequences.samples import Sequences
from concord.errors import CheckpointError, DataError
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.temporal import TemporalBlock
from concord.runs import predictions
from concord.runs.sequences.evaluate import parts_of, tested
from concord.runs.sequences.loading import LoadedSequences, load_run
from concord.runs.sequences.settings import DATA, TRAIN
from concord.training.evaluate import output_of
from concord.training.observer import SILENT, Observer

EPOCH = ("epoch", "train", "valid")  # what every line of metrics.jsonl has
MOST_STEPS = 120  # of the sequence whose states are drawn


@dataclass(frozen=True, eq=False)
class States:
    """What the last layer over time of a member holds while it reads a sequence. Shape: (T, H)"""

    member: str
    values: Tensor


@dataclass(frozen=True, eq=False)
class Along:
    """A sequence and what members hold while they read it."""

    name: str = ""
    symbols: tuple[str, ...] = ()  # of its steps, () of numbers
    states: tuple[States, ...] = ()


@dataclass(frozen=True, eq=False)
class SequenceView:
    """A complete run: settings, figures, epochs, kept predictions, and one sequence with its states."""

    name: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]
    task: str
    classes: tuple[str, ...]
    labels: Mapping[str, Tensor]  # of the test part, (N,) or (N, T) of each member; may be empty
    targets: Tensor | None
    along: Along


def sequence_view(
    path: Path, data: str | None = None, allow_code: Collection[str] = (), observer: Observer = SILENT
) -> SequenceView:
    """The view of a complete run; without states if the data cannot be read. CheckpointError for others."""
    loaded = load_run(path, allow_code=allow_code, device="cpu", observer=observer)
    result = loaded.folder.json("result.json", ("members", "ensemble"))
    labels, targets = _kept(loaded)
    along = Along()
    try:
        along = _read_along(loaded, tested(parts_of(loaded, data), whole=data is not None))
    except DataError as error:
        observer.notice(f"{error}; the report leaves out what members hold while they read")
    return SequenceView(
        path.name,
        _settings(loaded),
        result,
        loaded.folder.rows(EPOCH),
        loaded.interface.task,
        loaded.interface.known.classes,
        labels,
        targets,
        along,
    )


def _settings(loaded: LoadedSequences) -> dict[str, Any]:
    """Without the settings that are of pictures alone."""
    plain = loaded.config.model_dump(mode="json", exclude_none=True, exclude={"augment"})
    for table, pictures in (("data", DATA), ("train", TRAIN)):
        plain[table] = {key: value for key, value in plain[table].items() if key not in pictures}
    return plain


def _kept(loaded: LoadedSequences) -> tuple[dict[str, Tensor], Tensor | None]:
    """Labels that members gave to the test part, and the true ones; none of temporal classification."""
    found = predictions.read(loaded.folder)
    if found is not None:
        return {name: votes.long() for name, votes in found.votes().items()}, found.labels
    steps = predictions.steps_of(loaded.folder)
    if steps is None:
        return {}, None
    found_labels, targets = steps
    labels = {name: found_labels[name] for name in loaded.members if name in found_labels}
    largest = max(int(rows.max()) for rows in (*labels.values(), targets))
    if not labels.keys() >= loaded.members.keys() or largest >= len(loaded.interface.known.classes):
        raise CheckpointError(f"{loaded.folder.path / predictions.FILE}: damaged, it is of another run")
    return labels, targets


def _read_along(loaded: LoadedSequences, part: Dataset) -> Along:
    """The first sequence of a part, cut to ``MOST_STEPS``, and what every member holds at each step."""
    index = torch.zeros(1, dtype=torch.int64)
    if isinstance(part, Sequences):
        x, lengths = part.inputs(index)
        given: tuple[Tensor, ...] = (x[:, :MOST_STEPS], lengths.clamp(max=MOST_STEPS))
    else:
        whole, _ = part.batch(index, None)
        text = whole[0] if isinstance(whole, tuple) else whole  # streams say beside it whether they begin
        assert isinstance(text, Tensor)
        given = (text[:, :MOST_STEPS],)
    alphabet = loaded.interface.known.alphabet
    symbols = tuple(alphabet[k] for k in given[0][0].tolist()) if alphabet else ()
    found = [
        States(name, values)
        for name, member in loaded.members.items()
        if (values := _states(member, given if len(given) > 1 else given[0])) is not None
    ]
    return Along(part.name(0), symbols, tuple(found))


def _states(member: nn.Module, x: Any) -> Tensor | None:
    """Shape: -> (T, H), of both directions side by side; None without layers over time that concord knows"""
    layers = [each for each in member.modules() if isinstance(each, Recurrent | Cell | TemporalBlock)]
    inside = {cell for each in layers if isinstance(each, Recurrent) for cell in each.cells}
    outer = [each for each in layers if each not in inside]  # one that reads backwards is turned by its layer
    if not outer:
        return None
    seen: list[Tensor] = []

    def note(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(module, TemporalBlock):
            seen.append(output[0].transpose(0, 1))
        else:
            seen.append(output[0][0] if isinstance(module, Recurrent) else output[0][:, 0])

    hook = outer[-1].register_forward_hook(note)
    try:
        output_of(member, x)
    finally:
        hook.remove()
    return next(_maps(seen), None)


def _maps(seen: Sequence[Tensor]) -> Iterator[Tensor]:
    return (values.detach().float() for values in seen if values.ndim == 2)
