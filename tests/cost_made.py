"""Networks and what they cost, for the tests of the cost room."""

from torch import nn

from concord.cost.count import count
from concord.report.cost_tables import Priced


class Calls(nn.Module):
    """A network from a function: f(network, *inputs)."""

    def __init__(self, f, **modules):
        super().__init__()
        self.f = f
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.f(self, *inputs)


def three_layers(separable=False):
    """The network of Merrikhi 2024."""

    def layer(c, n):
        wide = nn.Conv2d(c, c if separable and c > 3 else n, 5, 2, 2, groups=c if separable and c > 3 else 1)
        return [wide, nn.Conv2d(c, n, 1), nn.ReLU()] if separable and c > 3 else [wide, nn.ReLU()]

    features = [step for c, n in ((3, 64), (64, 128), (128, 256)) for step in layer(c, n)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(65_536, 200))


def priced(network, *shapes, name="net"):
    return Priced(name, shapes, count(network, *shapes))


def cells(table):
    return [[entry.text for entry in row] for row in table.rows]
