"""How long a network takes here: in every engine that is installed, on the same inputs, in turns."""

import inspect
import platform
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.random import fork_rng

from concord.bench.binary_engines import in_floats
from concord.bench.latency import call_of, call_of_onnx, evaluated, latencies, using_threads
from concord.bench.measurement import MeasuredRow, Measurement
from concord.errors import ConcordError, ShapeError, UsageError
from concord.layers import pack
from concord.layers.binary.latent import LatentConv2d, LatentLinear
from concord.native.library import state
from concord.runs.cost_inputs import Given, Input, listed, sizes_of, usual_classes, usual_inputs
from concord.runs.costs import channels_of, cost_of
from concord.runs.export_formats import ConversionError, Free, Inputs, need_packages, onnx_file
from concord.training.evaluate import evaluating
from concord.zoo.build import build

BATCHES = (1, 64)
FLOATS, TORCH, PACKED, ONNX = "torch, float layers", "torch", "concord, packed", "onnxruntime"
Call = Callable[[], object]


class Engine(NamedTuple):
    """A network in one engine."""

    weight_bytes: int
    call: Callable[..., Call]  # inputs -> one call with them


class OneInput(nn.Module):
    """A network of any number of inputs, such as an ensemble in one network, for one input with a name."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Any:
        return self.network(x)


def measured_of(
    network: str | nn.Module,
    inputs: Given = (),
    *,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    seconds: float = 1.0,
    classes: int | None = None,
    allow_code: Collection[str] = (),
) -> Measurement:
    """Latency of a network in evaluation, with its spread, for each batch and engine.

        concord.measured_of("resnet18", batches=(1, 8)).rows[0].latency.median

    Engines: torch; ONNX Runtime where onnxscript can export the network; of a network with binary layers also
    ``concord.layers.pack`` of it and, first, the network with float layers in their place. Inputs are random
    numbers, token ids are 0. ``seconds`` go to each engine and batch, in five turns. Other arguments are
    those of ``cost_of``. Network, generator and threads are left as they were.

    Raises what ``cost_of`` and ``latency_of`` do.
    """
    if not batches or min(batches) < 1:
        raise UsageError(f"batches are whole numbers of at least 1, got {tuple(batches)}")
    name = cost_of(network, inputs, classes=classes, allow_code=allow_code).name  # refuses what does not fit
    wanted = listed(inputs) or usual_inputs(name)
    if tensors := [one for one in wanted if isinstance(one, Tensor)]:
        batches = (len(tensors[0]),)
    built = network if isinstance(network, nn.Module) else _built(network, wanted, classes, allow_code)
    missing: dict[str, str] = {}
    with using_threads(threads), evaluating({"": built}):
        engines = _engines(built, _samples(wanted, 2, built), threads, missing)
        with evaluated(built):
            rows = [
                row
                for size in batches
                for row in _rows(engines, size, _samples(wanted, size, built), seconds, missing)
            ]
    shapes = tuple(sizes_of(one).shape for one in wanted)
    return Measurement(name, shapes, threads, tuple(rows), missing, processor(), _versions(engines))


def _versions(engines: Collection[str]) -> dict[str, str]:
    """Of the packages that ran, and which path of the kernel for bits."""
    packages = ("torch", *([ONNX] if ONNX in engines else []))
    return {name: version(name) for name in packages} | (
        {"kernel": state().path} if PACKED in engines else {}
    )


def _built(
    network: str, wanted: Sequence[Input | Tensor], classes: int | None, allow_code: Collection[str]
) -> nn.Module:
    """With weights, from a generator of its own."""
    known = usual_classes(network) if classes is None else classes
    with fork_rng(devices=[]):
        return build(
            network, channels=channels_of(network, sizes_of(wanted[0])), classes=known, allow_code=allow_code
        )


def _samples(wanted: Sequence[Input | Tensor], batch: int, network: nn.Module) -> tuple[Tensor, ...]:
    """Tensors as they are; random numbers of the network's type, or ids of 0, for sizes."""
    like = next((p for p in network.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)

    def made(one: Input | Tensor) -> Tensor:
        if isinstance(one, Tensor):
            return one
        if one.ids:
            return torch.zeros(batch, *one.shape, dtype=torch.int64, device=like.device)
        return torch.randn(batch, *one.shape, generator=generator).to(like)

    return tuple(map(made, wanted))


def _engines(
    network: nn.Module, example: Sequence[Tensor], threads: int, missing: dict[str, str]
) -> dict[str, Engine]:
    """The first is what the others are compared with."""
    binary = any(isinstance(module, LatentConv2d | LatentLinear) for module in network.modules())
    engines = {FLOATS: _of_torch(in_floats(network))} if binary else {}
    engines[TORCH] = _of_torch(network)
    if any(x.device.type != "cpu" for x in example):
        return engines
    if binary:
        try:
            engines[PACKED] = _of_torch(pack(network))
        except ConcordError as error:
            missing[PACKED] = str(error)
    try:
        content = _exported(network, example)
    except (UsageError, ConversionError) as error:
        missing[ONNX] = str(error)
        return engines

    def call_onnx(*inputs: Tensor) -> Call:
        return call_of_onnx(content, *inputs, threads=threads, name="the ONNX file of the network")

    engines[ONNX] = Engine(len(content), call_onnx)
    return engines


def _of_torch(network: nn.Module) -> Engine:
    held = {id(x): x for x in network.state_dict().values()}
    return Engine(sum(x.numel() * x.element_size() for x in held.values()), partial(call_of, network))


def _exported(network: nn.Module, example: Sequence[Tensor]) -> bytes:
    """An ONNX file for any batch."""
    need_packages(".onnx")
    kinds = {one.kind for one in inspect.signature(network.forward).parameters.values()}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        if len(example) > 1:
            raise UsageError("its forward pass does not name its inputs, as ONNX does")
        network = OneInput(network)
    named = dict(zip(inspect.signature(network.forward).parameters, example, strict=False))
    free: dict[str, dict[int, str | Free]] = {name: {0: "batch"} for name in named}
    content, _ = onnx_file(network, Inputs(named, free, ("output",)), {})
    return content


def _rows(
    engines: Mapping[str, Engine],
    batch: int,
    inputs: Sequence[Tensor],
    seconds: float,
    missing: dict[str, str],
) -> list[MeasuredRow]:
    calls: dict[str, Call] = {}
    first = next(iter(engines))
    for name, engine in engines.items():
        try:
            calls[name] = engine.call(*inputs)
        except ShapeError as error:
            if name == TORCH:
                raise
            missing[name] = str(error)
    found = latencies(calls, seconds=seconds)
    base = found.get(first, found[TORCH])
    return [
        MeasuredRow(
            name,
            batch,
            one,
            engines[name].weight_bytes,
            base.median / one.median,
            _times(engines[first].weight_bytes, engines[name].weight_bytes),
        )
        for name, one in found.items()
    ]


def _times(first: int, other: int) -> float:
    """How many times as small; 1 where neither has weights."""
    return 1.0 if first == other else first / other


def processor() -> str:
    """What the system calls the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
