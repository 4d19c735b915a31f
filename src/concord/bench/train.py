"""How fast the pair ST + M trains here, beside plain PyTorch loops, in one run."""

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.bench.updates import BATCH, Updates, in_turns, noise, over, updates
from concord.files.atomic import unfinished

if TYPE_CHECKING:
    from torch import Tensor, nn

    from concord.data.images.images import Images

WEIGHT = 0.01
PAIR: Mapping[str, Any] = {
    "members": [{"name": n, "network": f"noel2017_{n}"} for n in ("st", "m")],
    "consensus": {"cost": "l2", "weight": WEIGHT},
    "train": {"device": "cpu"},
}


def bench_train(rounds: int = 5, each: int = 20) -> dict[str, Any]:
    """Samples per second of each contender: median over rounds, in which they take turns.

    plain: DataLoader with PIL images and ToTensor, float32, one Adam per member. bfloat16: the same costs
    under autocast, batches normalised in memory, channels_last, one fused Adam. concord: its default
    settings, with everything that ``concord train`` does between updates. python: the same modules and
    normalised pixels as tensors, as ``Ensemble.fit`` trains them.
    """
    import torch

    images = noise()
    with tempfile.TemporaryDirectory() as folder, unfinished(Path(folder)):
        contenders: dict[str, Updates] = {
            "plain": _plain(images),
            "bfloat16": _bfloat16(images),
            "concord": updates(PAIR, images, Path(folder) / "run"),
            "python": _python(images),
        }
        rates = in_turns(contenders, rounds, each)
    return {
        "network": "noel2017_st + noel2017_m, 1x28x28, batch 64, l2 0.01",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "samples_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "rounds": rates,
        "concord_over": {name: over(rates, "concord", name) for name in ("plain", "bfloat16", "python")},
    }


def _members() -> "list[nn.Module]":
    from concord.zoo.build import build

    return [build(name, channels=1, classes=10) for name in ("noel2017_st", "noel2017_m")]


def _cost(logits: "list[Tensor]", labels: "Tensor") -> "Tensor":
    import torch.nn.functional as F

    first, second = (z.float() for z in logits)
    agreement = (first - second).square().sum(1).mean()
    return F.cross_entropy(first, labels) + F.cross_entropy(second, labels) + WEIGHT * agreement


def _plain(images: "Images") -> Updates:
    import torch
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms import Compose, Normalize, ToTensor
    from torchvision.transforms.functional import to_pil_image

    pictures = [to_pil_image(x) for x in images.pixels]
    transform = Compose([ToTensor(), Normalize((0.5,), (0.5,))])

    class Pictures(Dataset[tuple[Any, int]]):
        def __len__(self) -> int:
            return len(pictures)

        def __getitem__(self, i: int) -> tuple[Any, int]:
            return transform(pictures[i]), int(images.labels[i])

    members = _members()
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in members]
    while True:
        for x, y in DataLoader(Pictures(), BATCH, shuffle=True):
            cost = _cost([member(x) for member in members], y)
            for optimizer in optimizers:
                optimizer.zero_grad()
            cost.backward()
            for optimizer in optimizers:
                optimizer.step()
            yield


def _normalised(images: "Images") -> "Tensor":
    import torch

    return ((images.pixels.float() - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)


def _python(images: "Images") -> Updates:
    import torch

    from concord.runs.given import parts_of
    from concord.runs.own import own_job
    from concord.runs.own_settings import Binding, Choices, config_of
    from concord.tasks.classify import Classify
    from concord.training.fit import fit
    from concord.training.loop import Step

    members = dict(
        zip(("st", "m"), (m.to(memory_format=torch.channels_last) for m in _members()), strict=True)
    )
    binding, task = Binding("l2", WEIGHT), Classify(10)
    choices = Choices(epochs=1000, batch_size=BATCH, precision=torch.bfloat16)
    config = config_of(members, binding, choices, task)
    parts = parts_of((_normalised(images), images.labels), None, None, task=task, seed=0)
    for event in fit(own_job(members, parts, task, binding, choices, config, out=None)):
        if isinstance(event, Step):
            yield


def _bfloat16(images: "Images") -> Updates:
    import torch

    members = [m.to(memory_format=torch.channels_last) for m in _members()]
    optimizer = torch.optim.Adam([p for m in members for p in m.parameters()], lr=1e-3, fused=True)
    pixels = _normalised(images)
    while True:
        for index in torch.randperm(len(pixels)).split(BATCH):
            with torch.autocast("cpu", torch.bfloat16):
                logits = [member(pixels[index]) for member in members]
            optimizer.zero_grad()
            _cost(logits, images.labels[index]).backward()
            optimizer.step()
            yield
