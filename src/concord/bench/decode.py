"""Images per second decoded on the way, beside torchvision's ImageFolder and PyTorch's DataLoader."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from concord.errors import DataError
from concord.files.text import printable

if TYPE_CHECKING:
    from torch import Tensor

Batches = Iterator["tuple[Tensor, Tensor]"]
BATCH = 64


def bench_decode(
    source: str | Path, *, size: int = 224, workers: int = 2, rounds: int = 5, each: int = 20
) -> dict[str, Any]:
    """Images per second of each contender, until they are normalised float32 batches in this process.

    ``source`` holds a folder of pictures for each class. torchvision: ImageFolder, Resize and CenterCrop of
    PIL images, ToTensor, Normalize, in a shuffling DataLoader. concord: ``data.keep = "decode"``. Both have
    the same pictures, size, batch and number of workers, and take turns; medians over the rounds are given.
    """
    if not Path(source).is_dir():
        raise DataError(
            f"{printable(source)}: expected a folder that holds a folder of pictures for each class"
        )

    import torch
    import torchvision
    from PIL import __version__ as pillow

    contenders = {
        "torchvision": _torchvision(Path(source), size, workers),
        "concord": _concord(source, size, workers),
    }
    for batches in contenders.values():
        _timed(batches, 2 * max(1, workers))  # workers start
    taken = [{name: _timed(batches, each) for name, batches in contenders.items()} for _ in range(rounds)]
    rates = {name: [each * BATCH / row[name] for row in taken] for name in contenders}
    ratios = [ours / theirs for ours, theirs in zip(rates["concord"], rates["torchvision"], strict=True)]
    return {
        "source": str(source),
        "size": size,
        "workers": workers,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "pillow": pillow,
        "images_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "concord_over_torchvision": statistics.median(ratios),
        "rounds": rates,
    }


def _timed(batches: Batches, count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        next(batches)
    return time.perf_counter() - began


def _torchvision(source: Path, size: int, workers: int) -> Batches:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

    steps = [Resize(size), CenterCrop(size), ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3)]
    pictures = ImageFolder(str(source), Compose(steps))
    loader = DataLoader(pictures, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader


def _concord(source: str | Path, size: int, workers: int) -> Batches:
    from torch import Tensor

    from concord.data.batches import indices
    from concord.data.dataset import Draw
    from concord.data.load import load
    from concord.data.loader import Loader, Wanted
    from concord.data.normalise import Normalise

    train = load(source, size=size, valid=0.0, test=0.01, keep="decode", workers=workers).train
    normalise = Normalise((127.5,) * train.shape[0], (127.5,) * train.shape[0])
    loader = Loader({"train": train}, workers, finish=normalise.tree)
    epoch = 0
    while True:
        order = indices(len(train), batch_size=BATCH, seed=0, epoch=epoch)
        for x, y in loader.batches(Wanted("train", index, Draw(0, epoch)) for index in order):
            assert isinstance(x, Tensor)
            assert isinstance(y, Tensor)
            yield x, y
        epoch += 1
