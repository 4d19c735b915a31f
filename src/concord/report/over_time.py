"""What a network over steps is made of, and which steps of its input it sees."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from concord.cost.record import Layer
from concord.layers.recurrent.recurrent import Recurrent
from concord.layers.temporal import CausalConv1d, TemporalBlock
from concord.zoo.convlstm import EncoderForecaster, VectorForecaster

Forecaster = EncoderForecaster | VectorForecaster
KNOWN = (nn.Embedding, nn.Linear, Recurrent, TemporalBlock, EncoderForecaster, VectorForecaster)


@dataclass(frozen=True)
class Stage:
    """A part of a chain: each reads what the one before it gives."""

    path: str
    module: nn.Module
    every: bool  # it gives something at every step; otherwise once, at the last


@dataclass(frozen=True)
class Reach:
    """The steps that an output sees: so many before and behind its own, None for all of them."""

    past: int | None
    future: int | None


def stages(network: nn.Module, layers: Sequence[Layer]) -> tuple[Stage, ...]:
    """The chain in the order of its calls; () for a network that is not such a chain over steps."""
    found: dict[str, Stage] = {}
    for layer in layers:
        home = next((p for p in _above(layer.path) if isinstance(network.get_submodule(p), KNOWN)), None)
        if home is not None:
            found[home] = Stage(home, network.get_submodule(home), len(layer.output) > 2)
        elif layer.parameters:
            return ()
    over_time = any(not isinstance(stage.module, nn.Embedding | nn.Linear) for stage in found.values())
    return tuple(found.values()) if over_time else ()


def _above(path: str) -> Iterator[str]:
    """``a.b`` -> "", "a", "a.b"."""
    parts = path.split(".") if path else []
    return (".".join(parts[:n]) for n in range(len(parts) + 1))


def reach(chain: Sequence[Stage]) -> Reach:
    """Of the last output: recurrence carries every step, convolutions see as far as they reach."""
    modules = [stage.module for stage in chain]
    if any(isinstance(module, EncoderForecaster | VectorForecaster) for module in modules):
        return Reach(None, 0)
    recurrent = [module for module in modules if isinstance(module, Recurrent)]
    if recurrent:
        return Reach(None, None if any(module.directions == 2 for module in recurrent) else 0)
    return Reach(sum(conv.past for _, conv in convolutions(chain)), 0)


def blocks(chain: Sequence[Stage]) -> list[tuple[str, TemporalBlock]]:
    """The levels of a temporal convolutional network."""
    return [(stage.path, stage.module) for stage in chain if isinstance(stage.module, TemporalBlock)]


def convolutions(chain: Sequence[Stage]) -> list[tuple[str, CausalConv1d]]:
    """Causal convolutions of all levels, from the input on."""
    return [found for path, block in blocks(chain) for found in causal(path, block)]


def causal(path: str, block: TemporalBlock) -> list[tuple[str, CausalConv1d]]:
    """Those of one level."""
    inside = block.named_modules(prefix=path)
    return [(name, module) for name, module in inside if isinstance(module, CausalConv1d)]
