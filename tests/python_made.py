"""Two small modules, data for them, and the examples of docs/python.md as one program."""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

TEXT = (Path(__file__).parent.parent / "docs/python.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
START = """
import torch
from torch import Tensor, nn


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.dense(x)
        return scores


class Big(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


torch.manual_seed(0)
x, x_test, x_new = torch.randn(120, 4), torch.randn(40, 4), torch.randn(5, 4)
y, y_test = x[:, :3].argmax(1), x_test[:, :3].argmax(1)
"""


def quicker(text):
    """The examples with fewer epochs and, for the run of the zoo, fewer pictures and one thread."""
    text = text.replace("epochs=30", "epochs=3").replace("epochs=40", "epochs=6")
    few = "train=concord.Train(epochs=1, threads=1),\n    data=concord.Data(limit=60),"
    return text.replace("train=concord.Train(epochs=3),", few, 1)


def write_photos(folder):
    """Three small pictures where the examples look for some."""
    folder.mkdir(parents=True)
    numbers = np.random.default_rng(0)
    for i in range(3):
        Image.fromarray(numbers.integers(0, 255, (12, 12), dtype=np.uint8)).save(folder / f"{i}.png")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 3)

    def forward(self, x):
        return self.dense(x)


class Big(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def members(seed=0):
    """A small and a big module, equal for equal seeds."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {"small": Small(), "big": Big()}


def data(count=120, seed=0):
    """x (N, 4) and y (N,): the largest of the first three numbers."""
    x = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :3].argmax(1)


def states(ensemble):
    """Weights and running statistics of all members."""
    return {
        f"{name}.{key}": tensor.clone()
        for name, member in ensemble.members.items()
        for key, tensor in member.state_dict().items()
    }


def same(one, other):
    """Whether two states are equal bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
