"""Packed layers that follow each other, run by one call of the kernel.

The first time that an input of some shape comes, the layers run one by one and their calls are recorded;
after that the recorded ones are made again. The numbers are the same. Layers that have hooks always run one
by one, and call them.
"""

from typing import Any

from torch import Tensor, fx
from torch.nn.modules import module as modules

from concord.layers.packed.repeats import LARGEST, Repeats, repeatable


class Chain(Repeats):
    """Runs ``layers``, whose modules have their places elsewhere in the network.

    Shape: that of the input of the first layer -> that of the output of the last
    """

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__()
        self.__dict__["layers"] = layers  # not registered: its state is that of the network
        self.__dict__["single"] = [layers.get_submodule(name) for name in _called(layers)]
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        layers: fx.GraphModule = self.__dict__["layers"]
        if not repeatable(x) or self._hooked():
            return layers(x)
        return self.repeat(layers, self._noting, x, layers)

    def _hooked(self) -> bool:
        return modules._has_any_global_hook() or any(
            layer._forward_hooks or layer._forward_pre_hooks for layer in self.__dict__["single"]
        )

    def _noting(self, x: Tensor) -> list[Tensor]:
        """Every map and all bits that are made, the output last; of too large ones the output alone."""
        noting = _Noting(self.__dict__["layers"])
        out: Tensor = noting.run(x)
        return [*(t for t in noting.made if t is not out), out]


def _called(layers: fx.GraphModule) -> set[str]:
    return {str(node.target) for node in layers.graph.nodes if node.op == "call_module"}


class _Noting(fx.Interpreter):
    """Keeps what the layers make, until it is more than is kept of a chain."""

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__(layers)
        self.made: list[Tensor] = []
        self.bytes = 0

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_module(target, args, kwargs)
        made = result if isinstance(result, tuple) else (result,)
        self.bytes += sum(t.nbytes for t in made)
        self.made = [*self.made, *made] if self.bytes <= LARGEST else []
        return result
