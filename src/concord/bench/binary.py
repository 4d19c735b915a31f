"""Binary convolutions beside those of PyTorch and OpenVINO, one thread, everything in one run.

Each engine runs a chain of eight equal layers, so that what a call costs by itself spreads, or a whole
network; binarising what goes in is part of it. A figure is the least time of many calls, in turns, by layer.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from concord.bench.binary_engines import Call, Missing, chains, networks
from concord.errors import UsageError
from concord.native.library import library, state

LAYERS = ((256, 14), (64, 56), (512, 7))  # channels and filters, side of the maps
DEEP = 8
WHOLE = "xnor_resnet18"
FIRST = 0.3  # seconds of an engine before it is measured: caches, clock, first calls
PRODUCTS = 9  # places of a kernel


def bench_binary(
    batches: Sequence[int] = (1,), whole: bool = True, seconds: float = 1.0, rounds: int = 5
) -> dict[str, Any]:
    """Microseconds of one layer, and of ``xnor_resnet18`` as a whole, for each engine.

    ``seconds`` are spent on each engine, in ``rounds`` turns. ``bound``: what the instructions of the path in
    use would take by themselves for a layer of one image. ``not_measured``: missing engines, and why.

    Raises UsageError for a batch, a number of rounds or a time that is not above 0.
    """
    if min(*batches, rounds) < 1 or not seconds > 0:
        raise UsageError(
            "batches and rounds are whole numbers of at least 1, and seconds are above 0; got"
            f" {tuple(batches)}, {rounds} and {seconds}"
        )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    missing: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    try:
        for batch in batches:
            for channels, side in LAYERS:
                made = _installed(chains(channels, side, batch, DEEP), missing)
                rows += _rows(f"{channels}@{side}", batch, DEEP, _least(made, seconds, rounds))
        if whole:
            made = _installed(networks(WHOLE, 1), missing)
            rows += _rows(WHOLE.removeprefix("xnor_"), 1, 1, _least(made, seconds, rounds))
    finally:
        torch.set_num_threads(threads)
    return {
        "rows": rows,
        "path": state().path,
        "bound": _bound(),
        "overhead_microseconds": _overhead(),
        "torch": torch.__version__,
        "not_measured": missing,
    }


def _installed(makers: Mapping[str, Callable[[], Call]], missing: dict[str, str]) -> dict[str, Call]:
    made = {}
    for name, make in makers.items():
        try:
            made[name] = make()
        except Missing as error:
            missing[name] = str(error)
    return made


def _least(engines: Mapping[str, Call], seconds: float, rounds: int) -> dict[str, float]:
    """Least time of a call, the engines in turns."""
    with torch.inference_mode():
        for call in engines.values():
            spend(call, FIRST)
        least = dict.fromkeys(engines, float("inf"))
        for _ in range(rounds):
            for name, call in engines.items():
                least[name] = min(least[name], spend(call, seconds / rounds))
    return least


def spend(call: Call, seconds: float) -> float:
    """Least time of the calls that these seconds have room for, at least one."""
    least, end = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        call()
        done = time.perf_counter()
        least = min(least, done - began)
        if done > end:
            return least


def _rows(layer: str, batch: int, deep: int, least: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    own = least["concord"]
    for engine, seconds in least.items():
        yield {
            "layer": layer,
            "batch": batch,
            "engine": engine,
            "microseconds": seconds / deep * 1e6,
            "concord_over": seconds / own,
        }


def _bound() -> dict[str, Any]:
    """Bit products per second of the innermost loop alone, and what a layer would take at that rate."""
    loaded = library()
    if loaded is None:
        return {"products_per_second": None, "microseconds": {}}
    spin, rounds = loaded.functions.concord_spin, 20_000
    least = min(_timed(lambda: spin(loaded.path, rounds)) for _ in range(20))
    rate = spin(loaded.path, rounds) / least
    layers = {
        f"{channels}@{side}": channels * channels * PRODUCTS * side * side / rate * 1e6
        for channels, side in LAYERS
    }
    return {"products_per_second": rate, "microseconds": layers}


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _overhead() -> float:
    """Microseconds of a call that has next to nothing to compute: 64 channels and filters, one pixel."""
    from concord.layers import pack
    from concord.layers.binary.convolution import XNORConv2d

    layer = pack(XNORConv2d(64, 64, 1, bias=False))
    pixel = torch.ones(1, 64, 1, 1).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return spend(lambda: layer(pixel), FIRST) * 1e6
