"""How long building and counting a network takes here and with other tools."""

import importlib.util
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

NETWORKS = ("vgg16", "resnet152", "densenet201", "mobilenet_v2", "resnext101_64x4d")
SIDE, LARGE = 224, 1024
Counted = tuple[float, int]  # seconds for building and counting, and the multiply-accumulates


def bench_cost(rounds: int = 5) -> dict[str, Any]:
    """Milliseconds of build + count per network and tool, median over rounds in which they take turns.

    Other tools count real networks, so that each builds one as torchvision makes it. What they call MACs is
    given as they give it.
    """
    import torch

    tools = {name: tool for name, tool in TOOLS.items() if importlib.util.find_spec(name)}
    contenders: Mapping[str, Callable[[str], Counted]] = {
        "concord": lambda network: _concord(network, SIDE),
        f"concord at {LARGE}": lambda network: _concord(network, LARGE),
        **{name: _timed(tool) for name, tool in tools.items()},
    }
    table: dict[str, Any] = {}
    for network in NETWORKS:
        for contender in contenders.values():
            contender(network)  # first calls import
        taken = [{name: c(network) for name, c in contenders.items()} for _ in range(rounds)]
        table[network] = _summed(taken)
    missing = sorted(TOOLS.keys() - tools.keys())
    return {"torch": torch.__version__, "rounds": rounds, "not_installed": missing, "networks": table}


def _summed(taken: list[dict[str, Counted]]) -> dict[str, Any]:
    """Medians, and ratios within each round: machines are noisy, rounds are short."""
    peers = [name for name in taken[0] if not name.startswith("concord")]
    ratios = [min(row[p][0] for p in peers) / row["concord"][0] for row in taken] if peers else []
    large = f"concord at {LARGE}"
    return {
        "milliseconds": {n: 1000 * statistics.median(row[n][0] for row in taken) for n in taken[0]},
        "macs": {n: taken[0][n][1] for n in taken[0]},
        "times_faster_than_the_fastest": statistics.median(ratios) if ratios else None,
        "large_over_small": statistics.median(row[large][0] / row["concord"][0] for row in taken),
    }


def _concord(network: str, side: int) -> Counted:
    from concord.cost.count import count
    from concord.zoo.skeleton import skeleton

    began = time.perf_counter()
    macs = count(skeleton(network, channels=3, classes=1000), (3, side, side)).macs
    return time.perf_counter() - began, macs


def _timed(tool: Callable[[Any], int]) -> Callable[[str], Counted]:
    def run(network: str) -> Counted:
        import torchvision

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            began = time.perf_counter()
            macs = tool(torchvision.models.get_model(network).eval())
            return time.perf_counter() - began, macs

    return run


def _torchinfo(network: Any) -> int:
    import torchinfo

    return int(torchinfo.summary(network, input_size=(1, 3, SIDE, SIDE), verbose=0).total_mult_adds)


def _fvcore(network: Any) -> int:
    import torch
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(network, torch.zeros(1, 3, SIDE, SIDE))
    return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def _ptflops(network: Any) -> int:
    import ptflops

    options = {"as_strings": False, "print_per_layer_stat": False, "verbose": False, "backend": "pytorch"}
    return int(ptflops.get_model_complexity_info(network, (3, SIDE, SIDE), **options)[0])


def _thop(network: Any) -> int:
    import thop
    import torch

    return int(thop.profile(network, inputs=(torch.zeros(1, 3, SIDE, SIDE),), verbose=False)[0])


TOOLS: Mapping[str, Callable[[Any], int]] = {
    "torchinfo": _torchinfo,
    "fvcore": _fvcore,
    "ptflops": _ptflops,
    "thop": _thop,
}
