"""Packed layers that follow each other, run by one call of the kernel.

The first time that an input of some shape comes, the layers run one by one and their calls are recorded;
after that the recorded ones are made again. The numbers are the same.
"""

from typing import Any

from torch import Tensor, fx

from concord.layers.packed.repeats import Repeats, repeatable


class Chain(Repeats):
    """Runs ``layers``, whose modules have their places elsewhere in the network.

    Shape: that of the input of the first layer -> that of the output of the last
    """

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__()
        self.__dict__["layers"] = layers  # not registered: its state is that of the network
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        layers: fx.GraphModule = self.__dict__["layers"]
        if not repeatable(x):
            return layers(x)
        return self.repeat(self._run, x, layers.buffers)

    def _run(self, x: Tensor) -> list[Tensor]:
        """Every map and all bits that are made, the output last."""
        noting = _Noting(self.__dict__["layers"])
        out: Tensor = noting.run(x)
        return [*(t for t in noting.made if t is not out), out]


class _Noting(fx.Interpreter):
    """Keeps what the layers make."""

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__(layers, garbage_collect_values=False)
        self.made: list[Tensor] = []

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_module(target, args, kwargs)
        self.made += result if isinstance(result, tuple) else (result,)
        return result
