"""Fields of axes that are renamed, cut, put together or written over."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from concord.cost import field_rules
from concord.cost.arithmetic import Fields, Shape
from concord.cost.field import Field
from concord.cost.hull import hull

Known = Callable[[Any], Fields | None]  # fields of a tensor; None if it does not depend on the input
Args = Sequence[Any]
Rule = Callable[[Args, Mapping[str, Any], Tensor, Known], Fields]


def broadcast(fields: Sequence[Fields], shape: Shape) -> Fields:
    """Axis by axis what any of the tensors sees; they are aligned at their last axes."""
    met = [hull([f[i] if -i <= len(f) else None for f in fields]) for i in range(-len(shape), 0)]
    return tuple(f if f and f.units == size else None for f, size in zip(met, shape, strict=True))


def reshaped(old: Shape, fields: Fields, new: Shape) -> Fields:
    """An axis that comes out of a reshape as it went in keeps its field; axes of length 1 come and go."""
    kept: list[Field | None] = []
    i = j = 0
    while i < len(old) and j < len(new):
        (i2, inside), (j2, outside) = (i + 1, old[i]), (j + 1, new[j])
        while inside != outside and (i2 < len(old) or j2 < len(new)):
            if inside < outside and i2 < len(old):
                inside, i2 = inside * old[i2], i2 + 1
            elif j2 < len(new):
                outside, j2 = outside * new[j2], j2 + 1
            else:
                break
        kept += _kept(old[i:i2], fields[i:i2], new[j:j2])
        i, j = i2, j2
    return (*kept, *(None,) * (len(new) - len(kept)))


def _kept(old: Shape, fields: Fields, new: Shape) -> list[Field | None]:
    if len(old) == len(new) == 1:
        return [*fields]
    longer = [f for size, f in zip(old, fields, strict=True) if size > 1]
    alone = len(longer) == 1 and sum(size > 1 for size in new) == 1
    return [longer[0] if alone and size > 1 else None for size in new]


def _view(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    return reshaped(tuple(args[0].shape), known(args[0]) or (), tuple(out.shape))


def _permute(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = known(args[0]) or ()
    return tuple(fields[axis] for axis in args[1])


def _transpose(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = list(known(args[0]) or ())
    a, b = args[1:3] if len(args) > 2 else (0, -1)
    fields[a], fields[b] = fields[b], fields[a]
    return tuple(fields)


def _unsqueeze(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields, axis = list(known(args[0]) or ()), args[1] % out.ndim
    return (*fields[:axis], None, *fields[axis:])


def _squeeze(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = known(args[0]) or ()
    axes = range(-len(fields), 0) if len(args) < 2 else args[1] if isinstance(args[1], list) else [args[1]]
    gone = {axis % len(fields) for axis in axes if args[0].shape[axis] == 1}
    return tuple(f for axis, f in enumerate(fields) if axis not in gone)


def _slice(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """slice(x, axis, start, end, step)"""
    fields = list(known(args[0]) or ())
    axis, start, _, step = (list(args[1:]) + [0, 0, None, 1][len(args) - 1 :])[:4]
    size = args[0].shape[axis]
    begin = min(max((start or 0) + (size if (start or 0) < 0 else 0), 0), size)
    old = fields[axis]
    fields[axis] = old and field_rules.sliced(old, begin, step, units=out.shape[axis])
    return tuple(fields)


def _select(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields, axis = list(known(args[0]) or ()), args[1]
    del fields[axis]
    return tuple(fields)


def _index_select(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """index_select(x, axis, places): places may be in any order along that axis."""
    fields = list(known(args[0]) or ())
    fields[args[1]] = None
    return tuple(fields)


def _index(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """x[:, places]: index(x, [None, places]); several lists of places, or places in two axes, mix all."""
    picked = [axis for axis, places in enumerate(args[1]) if places is not None]
    if len(picked) != 1 or args[1][picked[0]].ndim != 1:
        return (None,) * out.ndim
    return _index_select((args[0], picked[0]), kwargs, out, known)


def _copy(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """copy_(target, source); where a constant is written, less is seen than before."""
    source = known(args[1])
    return known(args[0]) or () if source is None else broadcast([source], tuple(out.shape))


def _embedding(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """embedding(table, places): each place becomes a vector."""
    return (*(known(args[1]) or (None,) * (out.ndim - 1)), None)


def _cat(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = [known(x) for x in args[0] if x.ndim == out.ndim]
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    joined = [hull(list(seen)) for seen in zip(*[f for f in fields if f is not None], strict=True)]
    return (*joined[:axis], None, *joined[axis + 1 :])


def _stack(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = [f for f in map(known, args[0]) if f is not None]
    axis = (args[1] if len(args) > 1 else kwargs.get("dim", 0)) % out.ndim
    joined = [hull(list(seen)) for seen in zip(*fields, strict=True)]
    return (*joined[:axis], None, *joined[axis:])


def _split(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = list(known(args[0]) or ())
    fields[args[2] if len(args) > 2 else kwargs.get("dim", 0)] = None
    return tuple(fields)


def _pad(rule: Callable[..., Field]) -> Rule:
    """Numbers come in pairs from the last axis on."""

    def pad(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields = list(known(args[0]) or ())
        for axis, before, after in zip(
            range(-1, -out.ndim - 1, -1), args[1][::2], args[1][1::2], strict=False
        ):
            if (old := fields[axis]) is not None and (before or after):
                fields[axis] = rule(old, before, units=out.shape[axis])
        return tuple(fields)

    return pad


def _shuffled(rule: Callable[[Field, int, int], Field]) -> Rule:
    """Positions of the last two axes that come from channels, or become some: factor is the argument."""

    def shuffled(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        *others, height, width = known(args[0]) or ()
        sizes, factor = out.shape[-2:], args[1]
        axes = (f and rule(f, factor, size) for f, size in zip((height, width), sizes, strict=True))
        return (*others, *axes)

    return shuffled


def _finer(field: Field, factor: int, units: int) -> Field:
    return field_rules.transposed(field, factor, factor, units=units)


def _coarser(field: Field, factor: int, units: int) -> Field:
    return field_rules.window(field, factor, factor, units=units)


SPLITS = "split split_with_sizes unsafe_split unsafe_split_with_sizes chunk unbind"
AXES: dict[str, Rule] = {
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "view_copy"), _view),
    "permute": _permute,
    **dict.fromkeys(("transpose", "t"), _transpose),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "slice": _slice,
    "select": _select,
    "index_select": _index_select,
    "index": _index,
    "copy_": _copy,
    "embedding": _embedding,
    "cat": _cat,
    "stack": _stack,
    **dict.fromkeys(SPLITS.split(), _split),
    **{f"reflection_pad{n}d": _pad(field_rules.reflected) for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _pad(field_rules.replicated) for n in (1, 2, 3)},
    "constant_pad_nd": _pad(field_rules.padded),
    "pixel_shuffle": _shuffled(_finer),
    "pixel_unshuffle": _shuffled(_coarser),
}
