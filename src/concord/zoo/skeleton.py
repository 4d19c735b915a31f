"""A network's shapes without a single weight, for counting: made in milliseconds, however large it is."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.random import fork_rng

from concord.zoo.build import build

LAYERS: tuple[Any, ...] = (nn.Linear, nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase)


def skeleton(name: str, *, channels: int, classes: int, allow_code: Collection[str] = ()) -> nn.Module:
    """The network of that name on the meta device; for real if it cannot be built so.

    Torch's generator is left as it was. Errors are those of ``build``.
    """
    without_weights: tuple[AbstractContextManager[object], ...] = (torch.device("meta"), EmptyOnMeta())
    for place in without_weights:
        try:
            with _no_start(), fork_rng(devices=[]), place:
                return _on_meta(build(name, channels=channels, classes=classes, allow_code=allow_code))
        except Exception:  # a constructor that needs numbers; if it is anything else, it happens again
            continue
    with fork_rng(devices=[]):
        return build(name, channels=channels, classes=classes, allow_code=allow_code)


class EmptyOnMeta(TorchFunctionMode):
    """Only what nobody has filled is not there: weights. What a constructor calculates with is."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))


def _on_meta(network: nn.Module) -> nn.Module:
    """What a constructor has made for real follows. Tensors that modules share, they still share."""
    moved: dict[int, Tensor] = {}
    for module in network.modules():
        for owned in (module._parameters, module._buffers):
            for key, x in owned.items():
                if x is not None and not x.is_meta:
                    empty = torch.empty_like(x, device="meta")
                    new = nn.Parameter(empty, x.requires_grad) if isinstance(x, nn.Parameter) else empty
                    owned[key] = moved.setdefault(id(x), new)  # type: ignore[assignment]
    return network


@contextmanager
def _no_start() -> Iterator[None]:
    """Without initialisers, which take most of the time and fill nothing on that device."""
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    places = [(nn.init, name) for name in names] + [(layer, "reset_parameters") for layer in LAYERS]
    kept = [(owner, name, getattr(owner, name)) for owner, name in places]
    for owner, name in places:
        setattr(owner, name, _as_it_is)
    try:
        yield
    finally:
        for owner, name, initialise in kept:
            setattr(owner, name, initialise)


def _as_it_is(tensor: Tensor | nn.Module, *args: Any, **kwargs: Any) -> Tensor | nn.Module:
    return tensor  # torch passes it by this name
