"""An ensemble in one network: M inner members that share a pass, and perhaps weights."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from concord.errors import ShapeError, UsageError
from concord.layers.members import split


class InnerEnsemble(nn.Module):
    """Every sample passes once for each inner member; in evaluation their logits are averaged.

    ``network`` takes the samples of member 1, then those of member 2 and so on, each time all of them. In
    training the output keeps the members apart, so that each is trained with a loss of its own: the training
    asks ``inner_outputs`` for them (``training.contract``).

    Shape: (B, ...) -> (B, K) in evaluation, (M, B, K) in training
    """

    def __init__(self, network: nn.Module, members: int) -> None:
        if members < 1:
            raise UsageError(f"an ensemble has at least 1 member, got {members}")
        super().__init__()
        self.network, self.members = network, members

    def forward(self, *inputs: Tensor) -> Tensor:
        repeated = [x.repeat(self.members, *[1] * (x.ndim - 1)) for x in inputs]
        output = self.network(*repeated)
        if not isinstance(output, Tensor):
            raise ShapeError(f"expected a network that gives one tensor, got {type(output).__name__}")
        each = split(output, self.members)
        return each if self.training else each.mean(0)

    def inner_outputs(self, output: Tensor) -> Sequence[Tensor]:
        """Of each inner member. Shape: (M, B, K) -> M times (B, K)"""
        return output.unbind(0)


def replaced(network: nn.Module, make: Callable[[str, nn.Module], nn.Module | None]) -> nn.Module:
    """The network with ``make(path, layer)`` in place of each of its modules for which that is not None.

    A module that stands in several places stays one module. Works in place but where the network itself is
    replaced.
    """
    new: dict[int, nn.Module] = {}
    for path, module in list(network.named_modules()):
        if (made := make(path, module)) is not None:
            new[id(module)] = made
    if id(network) in new:
        return new[id(network)]
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child is not None and id(child) in new:
                module._modules[name] = new[id(child)]
    return network
