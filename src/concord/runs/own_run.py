"""Driving a training of a Python user's modules, and keeping it: what ``Ensemble`` is made of."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader

from concord.consensus import names
from concord.cost.count import count as count_cost
from concord.data.batches import ranges
from concord.data.dataset import Dataset
from concord.data.tensors import Tensors
from concord.errors import CheckpointError, ConcordError, ShapeError, UsageError, suggestion
from concord.files import manifest
from concord.files.commit import commit
from concord.files.documents import parse_object
from concord.files.tensors import parse_tensors
from concord.runs import predictions as kept
from concord.runs.folder import RunFolder, locked
from concord.runs.history import History
from concord.runs.own import Binding
from concord.runs.result import MemberResult, Result, comparison_of, ensemble_of
from concord.tasks.classify import Classify, ClassScores
from concord.tasks.task import S, Task, Tree
from concord.training.batch import count
from concord.training.checkpoint import plain
from concord.training.epoch import Epoch
from concord.training.evaluate import evaluate, outputs
from concord.training.final import Final, final
from concord.training.fit import Training
from concord.training.job import Job
from concord.training.position import step_name
from concord.training.state import check_members, unpack_members

DOCUMENT = "ensemble.json"
NAME = "the name of a member is letters, digits, - and _, at most 60; 'ensemble' is taken"


def named(members: Mapping[str, nn.Module] | Sequence[nn.Module]) -> dict[str, nn.Module]:
    """Members by name; in a row they are called member-1, member-2, ... UsageError for what is no module."""
    if isinstance(members, nn.Module):
        raise UsageError("members is a mapping or a list of modules, got a single module: give [module]")
    if isinstance(members, str | bytes) or not isinstance(members, Mapping | Sequence):
        raise UsageError(f"members is a mapping of names to modules or a list, got {type(members).__name__}")
    pairs = (
        members.items()
        if isinstance(members, Mapping)
        else ((f"member-{i}", net) for i, net in enumerate(members, 1))
    )
    found = dict(pairs)
    if not found:
        raise UsageError("an ensemble needs at least one member")
    owner: dict[int, str] = {}
    for name, net in found.items():
        if not isinstance(net, nn.Module):
            raise UsageError(f"member {name!r} must be a torch.nn.Module, got {type(net).__name__}")
        if not isinstance(name, str) or not _writable(name):
            raise UsageError(f"{name!r}: {NAME}")
        for parameter in net.parameters():
            if owner.setdefault(id(parameter), name) != name:
                raise UsageError(
                    f"members {owner[id(parameter)]!r} and {name!r} share parameters; give each a module of"
                    " its own, for example copy.deepcopy(module)"
                )
    return found


def _writable(name: str) -> bool:
    return (
        0 < len(name) <= 60
        and name != "ensemble"
        and name[0].isalnum()
        and all(c.isascii() and (c.isalnum() or c in "._-") for c in name)
    )


def known(name: str, members: Mapping[str, nn.Module]) -> str:
    """The name, or UsageError with the nearest one."""
    if name not in members:
        near = suggestion(name, members)
        raise UsageError(f"no member {name!r}{near}; there are: {', '.join(members)}")
    return name


def try_members(members: Mapping[str, nn.Module], samples: tuple[Tree, Tree] | None, task: Task[Any]) -> None:
    """Two samples through every member, so that a wrong one is named before anything is trained."""
    if samples is None:
        return
    x, y = samples
    for name, member in members.items():
        try:
            with torch.random.fork_rng(devices=[]):
                (output,) = outputs({name: member}, x)
                task.loss(output, y)
                task.compare(output, y)
        except ConcordError as error:
            raise UsageError(f"member {name!r}: {error}") from error
        except Exception as error:  # a foreign network may raise anything
            raise UsageError(
                f"member {name!r} cannot take inputs of shape {_shape(x)}: {type(error).__name__}: {error}"
            ) from error


def _shape(x: Tree) -> Any:
    return tree_map(lambda leaf: tuple(leaf.shape) if isinstance(leaf, Tensor) else leaf, x)


def inputs(x: Any) -> Tree:
    """Inputs without targets as tensors; UsageError for what they cannot be."""
    length = count(tree_map(lambda leaf: torch.as_tensor(leaf), x))
    if not length:
        raise UsageError("there are no inputs: their first axis has length 0")
    made = Tensors(x, torch.zeros(length, dtype=torch.int64), targets="any")
    return made.batch(torch.arange(length), None)[0]


def pieces(x: Tree, most: int) -> Iterator[Tree]:
    """The inputs in order, at most that many samples at a time."""
    for index in ranges(count(x), most):
        yield tree_map(lambda leaf, index=index: leaf[index.to(leaf.device)], x)


def scores(members: Mapping[str, nn.Module], part: "Dataset | DataLoader[Any]", task: Task[S]) -> S:
    """Scores of these members on this part."""
    return task.scores(evaluate(members, _samples(part), task).tally, list(members))


def _samples(part: "Dataset | DataLoader[Any]") -> Iterator[tuple[Tree, Tree]]:
    if isinstance(part, DataLoader):
        for item in part:
            if not isinstance(item, tuple | list) or len(item) != 2:
                raise UsageError("a loader must give pairs (inputs, targets)")
            yield (tuple(item[0]) if isinstance(item[0], list) else item[0]), item[1]
        return
    normalise = part.spec.normalise
    for index in ranges(len(part)):
        x, y = part.batch(index, None)
        yield (normalise(x) if normalise is not None and isinstance(x, Tensor) else x), y


def run(job: Job[S], out: Path | None) -> History[S]:
    """Train to the end. In a run folder: from where it stands, and nothing more if it is complete."""
    folder = None if out is None else RunFolder(out)
    with nullcontext() if folder is None else locked(folder):
        training, fresh = Training(job), []
        last: Epoch[S] | None = None
        for event in training.run():
            last = event if isinstance(event, Epoch) else None
            if last is not None:
                fresh.append(last)
        done = final(job, training.position.best_step, last)
        if folder is not None and not folder.complete:
            _complete(folder, job, done)
    lines = [Epoch.read(line, job.task) for line in job.store.lines()]
    epochs = [*lines[: len(lines) - len(fresh)], *fresh]
    best = next(epoch.epoch for epoch in epochs if step_name(epoch.step) == done.checkpoint)
    return History(
        tuple(epochs), done.test, done.valid, done.seconds, best, done.predictions, job.feed.notices
    )


def _complete(folder: RunFolder, job: Job[S], done: Final[S]) -> None:
    """The files that end a run."""
    files: dict[str, bytes] = {}
    if isinstance(done.test, ClassScores):
        result = _class_result(folder, job, done).to_dict()  # type: ignore[arg-type]
        labels = torch.cat([y for _, y in job.feed.test()])
        files[kept.FILE] = kept.content_of(done.predictions, labels)
    else:
        valid = None if done.valid is None else done.valid.to_dict()
        result = {"members": {}, **done.test.to_dict(), "valid": valid, **_spent(folder, job, done)}
    folder.complete_with(result, files)


def _spent(folder: RunFolder, job: Job[Any], done: Final[Any]) -> dict[str, Any]:
    return {
        "run": str(folder.path),
        "seconds": done.seconds,
        "samples_per_second": done.samples_per_second,
        "epochs": done.epochs,
        "checkpoint": done.checkpoint,
        "fingerprint": job.feed.fingerprint,
        "notices": list(job.feed.notices),
    }


def _class_result(folder: RunFolder, job: Job[ClassScores], done: Final[ClassScores]) -> Result:
    x, _ = next(iter(job.feed.test()))
    members = {
        name: MemberResult(
            figures.error,
            done.valid.members[name].error if done.valid else None,
            figures.nll,
            figures.ece,
            figures.balanced_accuracy,
            *_price(job.members[name], x),
        )
        for name, figures in done.test.members.items()
    }
    spent = _spent(folder, job, done)
    notices = tuple(spent.pop("notices"))
    return Result(
        members, ensemble_of(done.test, done.valid), comparison_of(done.test), notices=notices, **spent
    )


def _price(member: nn.Module, x: Tree) -> tuple[int, int | None]:
    """Parameters and multiply-accumulates; None for the latter where they cannot be counted."""
    one = x if isinstance(x, tuple) else (x,)
    try:
        spent = count_cost(member, *(leaf[:1] for leaf in one))
    except (ShapeError, UsageError, TypeError):
        return sum(p.numel() for p in member.parameters()), None
    return spent.parameters, spent.macs


def save(path: Path, members: Mapping[str, nn.Module], binding: Binding, task: Task[Any]) -> None:
    """A folder with the weights of all members and what binds them."""
    if path.exists() and not (path / DOCUMENT).is_file():
        raise UsageError(f"{path} exists and is not a saved ensemble: give another name")
    document = {
        "members": {
            name: f"{type(net).__module__}.{type(net).__qualname__}" for name, net in members.items()
        },
        "consensus": binding.settings().model_dump(mode="json", exclude_none=True),
        "task": type(task).__name__.lower(),
        "classes": task.classes if isinstance(task, Classify) else None,
    }
    files = {
        f"member-{name}.safetensors": tensor_bytes(plain(net.state_dict())) for name, net in members.items()
    }
    files[DOCUMENT] = json.dumps(document, indent=1).encode() + b"\n"
    commit(path, files)


def read(path: Path, members: Mapping[str, nn.Module]) -> tuple[Binding, int | None]:
    """Weights of a saved ensemble into the members; what bound them, and the number of classes.

    CheckpointError if it is not a saved ensemble, is damaged, or was saved of other members.
    """
    if not (path / DOCUMENT).is_file():
        raise CheckpointError(f"{path} is not a saved ensemble: {DOCUMENT} is missing")
    try:
        document = parse_object(manifest.verified(path, DOCUMENT))
        names_, bound = list(document["members"]), document["consensus"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path / DOCUMENT}: damaged ({error})") from None
    if set(names_) != set(members):
        raise CheckpointError(
            f"{path} holds the members {', '.join(names_)}; members= names {', '.join(members)}"
        )
    saved = {}
    for name in members:
        file = f"member-{name}.safetensors"
        saved[name] = parse_tensors(path / file, manifest.verified(path, file))
    check_members(members, saved, str(path), document["members"])
    unpack_members(members, saved)
    cost = bound["cost"]
    if cost.startswith(names.OWN):
        cost = "none"
    binding = Binding(
        cost, bound["weight"] if cost != "none" else 0.0, bound["edges"], bound.get("temperature")
    )
    return binding, document.get("classes")


def from_run(path: Path, members: Mapping[str, nn.Module]) -> tuple[Binding, int | None]:
    """The same of a run folder: the weights that the run stands for."""
    from concord.runs.weights import fill, standing
    from concord.training import checkpoint

    folder = RunFolder(path)
    config = folder.config()
    fill(members, checkpoint.load(standing(folder)))
    settings = config.consensus
    cost = "none" if settings.cost.startswith(names.OWN) else settings.cost
    classes = len(folder.json("interface.json", ["classes"])["classes"]) or None
    binding = Binding(cost, settings.weight if cost != "none" else 0.0, settings.edges, settings.temperature)
    return binding, classes
