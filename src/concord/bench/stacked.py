"""Members of one network in one pass beside a pass for each, in one run."""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from concord.bench.updates import BATCH, in_turns, noise, over, updates
from concord.files.atomic import unfinished

WAYS: dict[str, dict[str, Any]] = {
    "default": {},
    "float32": {"precision": "float32"},
    "stacked": {"stacked": True},
}


def bench_stacked(
    network: str = "noel2017_st", count: int = 4, device: str = "auto", rounds: int = 5, each: int = 20
) -> dict[str, Any]:
    """Samples per second of ``count`` members of a network, three ways in turns: median over rounds.

    default: a pass for each member, in the precision of the machine. float32: the same in the precision of
    the third, stacked: one pass for all.
    """
    import torch

    images = noise()
    members = [{"name": f"m{i}", "network": network} for i in range(count)]
    with tempfile.TemporaryDirectory() as folder, unfinished(Path(folder)):
        contenders = {}
        for name, settings in WAYS.items():
            tables = {"members": members, "consensus": {"cost": "l2", "weight": 0.01}}
            tables["train"] = {"device": device} | settings
            contenders[name] = updates(tables, images, Path(folder) / name)
        rates = in_turns(contenders, rounds, each)
    on_gpu = torch.cuda.is_available() and device != "cpu"
    return {
        "network": f"{count} x {network}, 1x28x28, batch {BATCH}, l2 0.01",
        "device": torch.cuda.get_device_name(None if device == "auto" else device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "stacked_over": {name: over(rates, "stacked", name) for name in ("default", "float32")},
    }
