"""A network from a function, for the tests of the cost room."""

from torch import nn


class Calls(nn.Module):
    """A network from a function: f(network, *inputs)."""

    def __init__(self, f, **modules):
        super().__init__()
        self.f = f
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, *inputs):
        return self.f(self, *inputs)
