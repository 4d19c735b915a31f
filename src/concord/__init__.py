"""Trains small networks that behave like big ensembles and shows exactly what each network costs.

Train modules of your own together with ``Ensemble``; train networks of the zoo into a run folder with
``train`` and ``Config``; read either back with ``load``; write a loop of your own with ``cohort`` and
``updates``. Everything else that the command line does is one function here. Importing the package imports no
torch; names are imported when they are first used.
"""

TYPE_CHECKING = False  # that of typing, whose import takes most of the time until signals are heard
if TYPE_CHECKING:
    from typing import Any

    __version__: str
    from concord.api.anchors import anchors as anchors
    from concord.api.attack import attack_runs as attack_runs
    from concord.api.baseline import baselines as baselines
    from concord.api.corrupt import corrupt as corrupt
    from concord.api.data import data_check as data_check
    from concord.api.data import data_get as data_get
    from concord.api.evaluate import evaluate as evaluate
    from concord.api.evaluate import export as export
    from concord.api.evaluate import predict as predict
    from concord.api.evaluate import sample as sample
    from concord.api.explain import explain as explain
    from concord.api.explain import explain_field as explain_field
    from concord.api.load import load as load
    from concord.api.loop import cohort as cohort
    from concord.api.loop import updates as updates
    from concord.api.plain import plain_train as plain_train
    from concord.api.report import write_report as write_report
    from concord.api.run import Run as Run
    from concord.api.ship import ship as ship
    from concord.api.ship import ship_plan as ship_plan
    from concord.api.study import study as study
    from concord.api.train import resume as resume
    from concord.api.train import train as train
    from concord.bench.binary import bench_binary as bench_binary
    from concord.bench.cost import bench_cost as bench_cost
    from concord.bench.decode import bench_decode as bench_decode
    from concord.bench.detect import bench_detect as bench_detect
    from concord.bench.latency import latency as latency
    from concord.bench.latency import latency_of as latency_of
    from concord.bench.latency import latency_of_onnx as latency_of_onnx
    from concord.bench.measured import measured_of as measured_of
    from concord.bench.plain import bench_plain as bench_plain
    from concord.bench.precision import bench_precision as bench_precision
    from concord.bench.segment import bench_segment as bench_segment
    from concord.bench.stacked import bench_stacked as bench_stacked
    from concord.bench.train import bench_train as bench_train
    from concord.data.dataset import Dataset as Dataset
    from concord.data.load import load_data as load_data
    from concord.data.loaded import Border as Border
    from concord.data.loaded import BoxAugment as BoxAugment
    from concord.data.loaded import Crops as Crops
    from concord.data.loaded import load_boxes as load_boxes
    from concord.data.loaded import load_masks as load_masks
    from concord.errors import CheckpointError as CheckpointError
    from concord.errors import ConcordError as ConcordError
    from concord.errors import DataError as DataError
    from concord.errors import DivergedError as DivergedError
    from concord.errors import ResourceError as ResourceError
    from concord.errors import StoppedError as StoppedError
    from concord.errors import UsageError as UsageError
    from concord.plain.worked import plain_show as plain_show
    from concord.runs.config import Config as Config
    from concord.runs.config import Member as Member
    from concord.runs.config import Train as Train
    from concord.runs.config_consensus import Consensus as Consensus
    from concord.runs.config_data import Data as Data
    from concord.runs.costs import cost_of as cost_of
    from concord.runs.doctor import doctor as doctor
    from concord.runs.ensemble import Ensemble as Ensemble
    from concord.runs.history import History as History
    from concord.runs.training_costs import training_cost_of as training_cost_of
    from concord.tasks.classify import Classify as Classify
    from concord.tasks.detection.listed import average_precision as average_precision
    from concord.tasks.detection.precision import AveragePrecision as AveragePrecision
    from concord.tasks.task import Compared as Compared
    from concord.tasks.task import Ranking as Ranking
    from concord.tasks.task import Task as Task
    from concord.tasks.task import Watched as Watched
    from concord.training.batch import Batch as Batch
    from concord.training.muon import Muon as Muon
    from concord.training.observer import Observer as Observer
    from concord.training.optim import Adam as Adam
    from concord.training.optim import Sgd as Sgd
    from concord.zoo.ensembles.batch import batch_ensemble as batch_ensemble
    from concord.zoo.ensembles.packed import packed_ensemble as packed_ensemble
    from concord.zoo.registry import networks as networks

_HOMES = {
    "Ensemble": "runs.ensemble",
    "History": "runs.history",
    "Config": "runs.config",
    "Member": "runs.config",
    "Consensus": "runs.config",
    "Data": "runs.config_data",
    "Train": "runs.config",
    "Adam": "training.optim",
    "Muon": "training.muon",
    "Sgd": "training.optim",
    "Run": "api.run",
    "train": "api.train",
    "resume": "api.train",
    "load": "api.load",
    "load_data": "data.load",
    "load_masks": "data.loaded",
    "load_boxes": "data.loaded",
    "Crops": "data.loaded",
    "Border": "data.loaded",
    "BoxAugment": "data.loaded",
    "evaluate": "api.evaluate",
    "predict": "api.evaluate",
    "export": "api.evaluate",
    "sample": "api.evaluate",
    "write_report": "api.report",
    "study": "api.study",
    "ship": "api.ship",
    "ship_plan": "api.ship",
    "cohort": "api.loop",
    "updates": "api.loop",
    "Batch": "training.batch",
    "Classify": "tasks.classify",
    "Task": "tasks.task",
    "Compared": "tasks.task",
    "Ranking": "tasks.task",
    "Watched": "tasks.task",
    "Dataset": "data.dataset",
    "Observer": "training.observer",
    "average_precision": "tasks.detection.listed",
    "AveragePrecision": "tasks.detection.precision",
    "networks": "zoo.registry",
    "batch_ensemble": "zoo.ensembles.batch",
    "packed_ensemble": "zoo.ensembles.packed",
    "cost_of": "runs.costs",
    "training_cost_of": "runs.training_costs",
    "latency": "bench.latency",
    "latency_of": "bench.latency",
    "latency_of_onnx": "bench.latency",
    "measured_of": "bench.measured",
    "explain": "api.explain",
    "anchors": "api.anchors",
    "explain_field": "api.explain",
    "baselines": "api.baseline",
    "attack_runs": "api.attack",
    "corrupt": "api.corrupt",
    "plain_train": "api.plain",
    "plain_show": "plain.worked",
    "data_check": "api.data",
    "data_get": "api.data",
    "doctor": "runs.doctor",
    "bench_train": "bench.train",
    "bench_binary": "bench.binary",
    "bench_cost": "bench.cost",
    "bench_decode": "bench.decode",
    "bench_detect": "bench.detect",
    "bench_plain": "bench.plain",
    "bench_precision": "bench.precision",
    "bench_segment": "bench.segment",
    "bench_stacked": "bench.stacked",
    "ConcordError": "errors",
    "UsageError": "errors",
    "DataError": "errors",
    "CheckpointError": "errors",
    "DivergedError": "errors",
    "ResourceError": "errors",
    "StoppedError": "errors",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> "Any":
    """The function or class of that name, imported when it is first asked for."""
    if name == "__version__":
        from importlib import metadata

        return metadata.version("concord")
    if name not in _HOMES:
        raise AttributeError(f"module 'concord' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"concord.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
