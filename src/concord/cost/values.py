"""Whole numbers that a pass on the meta device still knows, and the indices that torch refuses for them.

A tensor of the meta device has no numbers. Those of whole numbers that were given, or that a network makes
out of sizes (token ids, positions), are carried beside it, because they choose rows of tables.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from concord.cost.fitting import Doubt

VALUES = "_concord_values"
MOST = 1 << 20  # more numbers than that are not carried
MADE_OF_SIZES = ("arange", "full", "ones", "zeros")
Args = Sequence[Any]


def on_meta(x: Tensor) -> Tensor:
    """An empty tensor like x on the meta device, which knows its numbers where they are whole."""
    empty = torch.empty_like(x, device="meta")
    if not (x.is_floating_point() or x.is_complex() or x.is_meta) and x.numel() <= MOST:
        setattr(empty, VALUES, x.detach().cpu().clone())
    return empty


def follow(func: Any, args: Args, kwargs: Mapping[str, Any], out: Any) -> None:
    """Compute what an operation gave on the meta device, if all that it was given is known."""
    outs = [x for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, Tensor)]
    if not outs or any(x.is_floating_point() or x.is_complex() or x.numel() > MOST for x in outs):
        return
    given = [x for x in _flat([args, *kwargs.values()]) if isinstance(x, Tensor)]
    made = not given and func.overloadpacket.__name__ in MADE_OF_SIZES
    if not made and (not given or any(_values(x) is None for x in given)):
        return
    if torch.Tag.nondeterministic_seeded in func.tags:
        return
    try:
        real = func(*_real(args), **{**_real(kwargs), **({"device": "cpu"} if "device" in kwargs else {})})
    except Exception:  # it is a guess: what torch refuses is refused when numbers are there
        return
    for x, values in zip(outs, real if isinstance(real, tuple | list) else [real], strict=True):
        setattr(x, VALUES, values)


def check(func: Any, args: Args) -> None:
    """Doubt for an index outside of its table, and for an empty map that is convolved, pooled or resized."""
    name = func.overloadpacket.__name__
    if name in ("embedding", "_embedding_bag", "_embedding_bag_forward_only"):
        _inside(args[1], 0, args[0].shape[0])
        if name != "embedding" and (offsets := _values(args[2])) is not None and offsets.numel():
            _require(int(offsets[0]) == 0 and int(offsets[-1]) <= len(args[1]))
    elif name in ("gather", "index_select", "scatter", "scatter_"):
        _inside(args[2], 0, args[0].shape[args[1]] if args[0].ndim else 1)
    elif name == "index":
        for axis, places in enumerate(args[1]):
            if places is not None and places.dtype not in (torch.bool, torch.uint8):
                _inside(places, -args[0].shape[axis], args[0].shape[axis])
    elif any(kind in name for kind in ("convolution", "pool", "upsample")):
        made = args[1] if "upsample" in name and args[1] is not None else ()
        _require(0 not in args[0].shape[2:] and 0 not in made)


def _inside(index: Tensor, low: int, high: int) -> None:
    values = _values(index)
    if values is not None and values.numel():
        _require(low <= int(values.min()) and int(values.max()) < high)


def _require(fits: bool) -> None:
    if not fits:
        raise Doubt("an index lies outside of its table, or a map of size 0 is convolved, pooled or resized")


def _values(x: Tensor) -> Tensor | None:
    found: Tensor | None = getattr(x, VALUES, None)
    return found


def _flat(args: Any) -> list[Any]:
    return [y for x in args for y in (_flat(x) if isinstance(x, tuple | list) else [x])]


def _real(given: Any) -> Any:
    """The same with numbers in place of empty tensors."""
    if isinstance(given, Tensor):
        return _values(given)
    if isinstance(given, Mapping):
        return {name: _real(value) for name, value in given.items()}
    return type(given)(map(_real, given)) if isinstance(given, tuple | list) else given
