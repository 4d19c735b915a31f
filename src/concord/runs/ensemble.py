"""Networks that are trained together and predict together: the door for Python.

ensemble = concord.Ensemble({"small": Small(), "big": Big()}, consensus="kl")
history = ensemble.fit((x, y), valid=0.1, epochs=30)
scores = ensemble.evaluate((x_test, y_test))
p = ensemble.predict_proba(x_new)
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import torch
from torch import nn
from torch.optim import Optimizer

from concord.errors import UsageError
from concord.runs import answers, own_run, own_saved
from concord.runs.given import AUTO, Given, parts_of
from concord.runs.history import History
from concord.runs.member_view import MemberView
from concord.runs.named_tasks import TaskName, named_task, refuse_cost, task_or_name
from concord.runs.notebook import observer_here
from concord.runs.own import own_job
from concord.runs.own_members import Members, known, named
from concord.runs.own_settings import Binding, Bindings, Bound, Choices, Cost, config_of
from concord.runs.own_trial import try_modules
from concord.runs.predicts import Predicts
from concord.runs.watching import never
from concord.tasks.classify import Classify, ClassScores
from concord.tasks.ctc import LabelScores
from concord.tasks.detection.scores import DetectScores
from concord.tasks.frames import FrameScores
from concord.tasks.regress import NumberScores
from concord.tasks.segment_scores import SegmentScores
from concord.tasks.steps import StepScores
from concord.tasks.task import S, Task
from concord.training.beside import Beside
from concord.training.muon import Muon
from concord.training.observer import Observer
from concord.training.optim import Adam, Sgd
from concord.training.probe import Shape
from concord.training.trial import all_put_back


class Ensemble(Predicts[S]):
    """Members in training together, and what they predict together: the mean of their logits.

    ``members`` are modules by name, or in a row. ``consensus`` is the cost between their predictions ("l2",
    "sce", "kl", ..., or a function of two batches of logits (B, K) to (B,)), ``weight`` its weight; a weight
    of 0 is the plain ensemble. "kl" and "sce_tf1" without a weight have the recommended one, 1, which rises
    linearly from 0 over each ``fit``; the other costs need a weight. ``edges`` say who learns from whom
    ("chain", "all", ...; or a table). ``task`` says what an output means; "classify" is the default, its
    number of classes is found in the labels. Of sequences: "sequence" (a class for each), "segments" (for
    each step), "language" (the next symbol), "ctc" (labels without their places). Numbers in place of
    classes: "regression"; the next frames of films: "frames"; a class for every pixel of a picture:
    "segment"; boxes of objects: "detect", of members whose attributes say how their outputs are read
    (version, classes, cells, boxes, strides, anchors).

    Members stay your modules: they are trained in place, where they lie.

    >>> ensemble = Ensemble([nn.Linear(4, 3), nn.Linear(4, 3)], consensus="kl")
    >>> history = ensemble.fit((torch.randn(90, 4), torch.arange(90) % 3), epochs=2)
    >>> ensemble.predict_proba(torch.randn(2, 4)).shape
    torch.Size([2, 3])

    Raises UsageError for modules that are given twice or share parameters, names that cannot be used, and a
    cost, weight or edges that do not fit together.
    """

    @overload
    def __init__(
        self: "Ensemble[ClassScores]",
        members: Members,
        *,
        task: Literal["classify", "sequence"] = ...,
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[StepScores]",
        members: Members,
        *,
        task: Literal["segments", "language"],
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[LabelScores]", members: Members, *, task: Literal["ctc"], **binding: Unpack[Bindings]
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[NumberScores]",
        members: Members,
        *,
        task: Literal["regression"],
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[FrameScores]",
        members: Members,
        *,
        task: Literal["frames"],
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[SegmentScores]",
        members: Members,
        *,
        task: Literal["segment"],
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(
        self: "Ensemble[DetectScores]",
        members: Members,
        *,
        task: Literal["detect"],
        **binding: Unpack[Bindings],
    ) -> None: ...

    @overload
    def __init__(self, members: Members, *, task: Task[S], **binding: Unpack[Bindings]) -> None: ...

    def __init__(
        self,
        members: Members,
        *,
        consensus: Cost = "none",
        weight: float | None = None,
        edges: Bound = "chain",
        temperature: float | None = None,
        task: Task[Any] | TaskName = "classify",
    ) -> None:
        self.members: dict[str, nn.Module] = named(members)
        self._beside = {name: Beside(name, net) for name, net in self.members.items()}
        self.binding = Binding(consensus, weight, edges, temperature)
        config_of(self.members, self.binding, Choices(), Classify(2))  # refused here, not at the first fit
        self._shape: Shape | None = None  # of an input, once it is known
        self._task: Task[Any] | TaskName = task_or_name(task)
        refuse_cost(self.binding.settings().cost, self._task)

    def __getitem__(self, name: str) -> nn.Module:
        """The module of that name itself."""
        return self.members[known(name, self.members)]

    def __iter__(self) -> Iterator[str]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={type(net).__name__}" for name, net in self.members.items())
        bound = self.binding.settings()
        kind = bound.schedule.kind
        schedule = "" if kind == "constant" else f", schedule={kind!r}"
        return f"Ensemble({listed}; consensus={bound.cost!r}, weight={bound.weight:g}{schedule})"

    @property
    def task(self) -> Task[S]:
        """What an output means; UsageError before a classifier has seen labels."""
        if isinstance(self._task, str):
            raise UsageError("the number of classes is not known yet: fit first, or give task=Classify(K)")
        return self._task

    def fit(
        self,
        data: Given,
        *,
        valid: Given = AUTO,
        test: Given = None,
        epochs: int = 30,
        batch_size: int = 64,
        optimizer: Adam | Sgd | Muon | torch.optim.Optimizer | None = None,
        schedule: str | None = "halving",
        warmup: float = 0.0,
        cycles: int = 1,
        ema: float = 0.0,
        clip: float | None = None,
        patience: int | None = None,
        alternating: bool = False,
        micro_batch: int | None = None,
        shuffle: bool = True,
        precision: torch.dtype = torch.float32,
        workers: int | None = None,
        seed: int = 0,
        out: str | Path | None = None,
        checkpoint_seconds: float = 60.0,
        observer: Observer | None = None,
        stop: Callable[[], bool] = never,
    ) -> History[S]:
        """Train all members together; gives the figures of every epoch.

        ``data`` is a pair (x, y) of tensors or arrays, a torch Dataset or DataLoader, a Dataset of concord,
        or what ``concord.load_data`` gives. ``valid`` and ``test`` are such data, a fraction to cut off, or
        None; as long as ``valid`` is not given, a tenth is cut off, or of a loader nothing. ``optimizer`` is
        ``concord.Adam(...)`` (the default), ``concord.Sgd(...)``, ``concord.Muon(...)``, or a torch optimizer
        made of the parameters of all members, whose rate is left alone. ``ema``, such as 0.999, is the decay
        of a moving average of each member's weights: members are evaluated as their averages, and end with
        these weights. With ``patience`` the training ends after that many epochs without a better validation
        score, and the members get the best weights. ``cycles`` is how often the schedule begins again; with
        ``out`` the weights at the end of each are kept, and ``concord.load(out, members, cycle=1)`` reads
        them. ``shuffle=False`` takes data sets in stored order in every epoch.

        With ``out`` everything is kept in a run folder: called again after a stop or a kill, with new modules
        of the same shapes and the same arguments, it continues exactly where it was; called again after its
        end, it gives the members their final weights. With a DataLoader whose workers or sampler draw from
        generators of their own that is exact at the ends of epochs, otherwise at every update.

        Without ``out`` a second call trains on from the weights as they are, with a new optimizer.

        Raises UsageError, DataError, DivergedError with the members named, CheckpointError for a folder of
        another training, StoppedError after saving when ``stop`` says so. Ctrl-C leaves the members with the
        weights of the last update, without averaging.
        """
        choices = Choices(
            epochs=epochs,
            batch_size=batch_size,
            optimizer=Adam() if optimizer is None else optimizer,
            schedule=schedule,
            warmup=warmup,
            cycles=cycles,
            ema=ema,
            clip=clip,
            patience=patience,
            alternating=alternating,
            micro_batch=micro_batch,
            shuffle=shuffle,
            precision=precision,
            workers=workers,
            seed=seed,
            checkpoint_seconds=checkpoint_seconds,
        )
        observer = observer_here() if observer is None else observer
        with all_put_back(self.members):
            task: Task[S] = named_task(self._task, self.members, data)
        refuse_cost(self.binding.settings().cost, task)
        config = config_of(self.members, self.binding, choices, task)
        parts = parts_of(data, valid, test, task=task, seed=config.train.seed)
        self._shape = try_modules(
            self.members,
            parts,
            task,
            observer,
            dense=not isinstance(optimizer, Optimizer),
            precision=precision,
        )
        folder = None if out is None else Path(out)
        job = own_job(
            self.members,
            parts,
            task,
            self.binding,
            choices,
            config,
            out=folder,
            beside=self._beside,
            shape=self._shape,
            observer=observer,
            stop=stop,
        )
        self._task = task
        return own_run.run(job, folder, config)

    def evaluate(self, data: Given) -> S:
        """Scores of every member and of the ensemble on data that were not trained on.

        ``scores.members["small"].error``, ``scores.ensemble.nll``; ``data`` as for ``fit``, with targets.
        """
        return answers.scores(self.members, data, self.task)

    def member(self, name: str) -> MemberView[S]:
        """One member by name, to predict with it alone."""
        return MemberView(name, self[name], lambda: self.task)

    def save(self, path: str | Path) -> None:
        """Write the weights of all members and what binds them into a folder, whole or not at all.

        ``concord.load(path, members=...)`` reads it back. An older ensemble there is replaced; UsageError if
        something else is there.
        """
        own_saved.save(Path(path), self.members, self._beside, self.binding, self.task, self._shape)
