"""A Python user's members on disk: a saved ensemble written and read, and the weights of a run read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as tensor_bytes
from torch import nn

from concord.consensus import names
from concord.consensus.edges import table
from concord.consensus.recommended import RISING, WEIGHTS
from concord.errors import CheckpointError, UsageError
from concord.files import manifest
from concord.files.commit import commit
from concord.files.documents import parse_object
from concord.files.tensors import parse_tensors
from concord.runs.config_consensus import Consensus
from concord.runs.cycles import snapshot
from concord.runs.folder import RunFolder
from concord.runs.own_members import refuse_lazy
from concord.runs.own_settings import Binding
from concord.runs.ramps import Ramp
from concord.runs.there import SAVED
from concord.runs.weights import fill, standing
from concord.tasks.classify import Classify
from concord.tasks.task import Task
from concord.training import checkpoint, probe
from concord.training.beside import Beside
from concord.training.dense import refuse_unsaved
from concord.training.foreign import blamed
from concord.training.probe import Shape
from concord.training.state import check_members, state_of, unpack_members
from concord.training.types import check_finite

CLASSIFY = "classify"


@dataclass(frozen=True)
class Found:
    """What was read beside the weights. ``classifier`` is the task if concord's own was kept."""

    binding: Binding
    task: str
    classifier: Classify | None


def save(
    path: Path,
    members: Mapping[str, nn.Module],
    beside: Mapping[str, Beside],
    binding: Binding,
    task: Task[Any],
    shape: Shape | None,
) -> None:
    """A folder with the weights of all members and what binds them; an older one there is replaced.

    ``beside`` are what the members are beyond their state dicts, ``shape`` that of an input.
    """
    if path.exists() and not (path / SAVED).is_file():
        raise UsageError(f"{path} exists and is not a saved ensemble: give another name")
    document = {
        "members": {
            name: f"{type(net).__module__}.{type(net).__qualname__}" for name, net in members.items()
        },
        "consensus": binding.settings().model_dump(mode="json", exclude_none=True),
        "task": type(task).__name__.lower(),
        "classes": task.classes if isinstance(task, Classify) else None,
        "label_smoothing": task.label_smoothing if isinstance(task, Classify) else None,
    }
    files = {
        f"member-{name}.safetensors": _bytes_of(name, net, beside[name], shape)
        for name, net in members.items()
    }
    files[SAVED] = json.dumps(document, indent=1).encode() + b"\n"
    commit(path, files)


def _bytes_of(name: str, member: nn.Module, beside: Beside, shape: Shape | None) -> bytes:
    with blamed(name, member, "when its state was saved"):
        state = state_of(member) | beside.tensors()
        refuse_unsaved(name, state)
        return tensor_bytes(checkpoint.detached(state | probe.probed(name, member, shape)))


def read(path: Path, members: Mapping[str, nn.Module], cycle: int | None = None) -> Found:
    """Weights of a saved ensemble, or of a run of ``Ensemble.fit``, into the members.

    A consensus that was a function is not kept: it becomes "none". ``cycle``: those at the end of that cycle
    of a run, see ``cycles.snapshot``. CheckpointError if nothing is there, it is damaged, or was saved of
    other members.
    """
    refuse_lazy(members)
    if (path / "config.toml").is_file():
        return _run(path, members, cycle)
    if cycle is not None:
        raise UsageError(f"{path} is not a run: only a run that was trained in cycles has snapshots")
    return _saved(path, members)


def _saved(path: Path, members: Mapping[str, nn.Module]) -> Found:
    if not (path / SAVED).is_file():
        why = f"{SAVED} is missing" if path.is_dir() else "the folder does not exist"
        raise CheckpointError(f"{path} is neither a saved ensemble nor a run: {why}")
    try:
        document = parse_object(manifest.verified(path, SAVED))
        _refuse_others(path, document["members"], members)
        settings = Consensus.model_validate(document["consensus"])
        classifier = _classifier(document["classes"], document.get("label_smoothing"))
        found = Found(binding_of(settings), document["task"], classifier)
        kept = document["members"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / SAVED}: damaged ({error})") from None
    tensors = {}
    for name in members:
        file = f"member-{name}.safetensors"
        tensors[name] = parse_tensors(path / file, manifest.verified(path, file))
    check_members(members, tensors, str(path), kept)
    for name, member in members.items():
        check_finite(member, tensors[name], f"{path}: member {name!r}")
    unpack_members(members, tensors)
    for name, member in members.items():
        probe.check(name, member, tensors[name], path)
    return found


def _run(path: Path, members: Mapping[str, nn.Module], cycle: int | None) -> Found:
    folder = RunFolder(path)
    config = folder.config()
    _refuse_others(path, [member.name for member in config.members], members)
    fill(members, standing(folder) if cycle is None else snapshot(folder, config, cycle))
    listed = folder.json("interface.json", ["classes"])["classes"]
    if not isinstance(listed, list):
        raise CheckpointError(f"{path / 'interface.json'}: damaged, classes is not a list")
    classes = len(listed)
    classifier = _classifier(classes, config.train.label_smoothing)
    return Found(binding_of(config.consensus), config.train.task, classifier)


def _classifier(classes: int | None, label_smoothing: float | None) -> Classify | None:
    return Classify(classes, label_smoothing or 0.0) if classes else None


def _refuse_others(path: Path, kept: Any, members: Mapping[str, nn.Module]) -> None:
    if set(kept) != set(members):
        raise CheckpointError(
            f"{path} holds the members {', '.join(kept)}; members= names {', '.join(members)}"
        )


def binding_of(settings: Consensus) -> Binding:
    """The binding that the settings describe."""
    if settings.cost.startswith(names.OWN):
        return Binding()
    rises = settings.schedule == Ramp.model_validate(RISING)
    weight = None if rises and WEIGHTS.get(settings.cost) == settings.weight else settings.weight
    edges = settings.edges
    if not isinstance(edges, str) and settings.detach is not True:
        return Binding(settings.cost, weight, table(edges, settings.detach), settings.temperature)
    return Binding(settings.cost, weight, edges, settings.temperature)
