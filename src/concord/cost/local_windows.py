"""Fields after windows, means, statistics, products and interpolation."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from concord.cost import field_rules
from concord.cost.arithmetic import Fields, Windows, convolution, per_axis, transposed_convolution
from concord.cost.local_axes import Args, Known, Rule


def _convolution(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    x, weight, _, stride, padding, dilation, transposed, extra = args[:8]
    n, fields = weight.ndim - 2, known(x)
    if fields is None or known(weight) is not None:
        return (None,) * out.ndim  # the kernel depends on the whole input
    stride, padding, dilation, extra = (per_axis(n, s) for s in (stride, padding, dilation, extra))
    windows = Windows(tuple(weight.shape[2:]), stride, padding, dilation)
    shape = tuple(x.shape)
    if transposed:
        return transposed_convolution(shape, fields, 1, windows, extra, groups=1, bias=False).fields
    answer = convolution(shape, fields, 1, windows, groups=1, bias=False)
    return answer.fields if answer else (None,) * out.ndim


def _pooling(n: int, has_dilation: bool) -> Rule:
    def rule(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields = list(known(args[0]) or ())
        kernel = per_axis(n, args[1])
        stride = per_axis(n, args[2]) if len(args) > 2 and args[2] else kernel
        padding = per_axis(n, args[3]) if len(args) > 3 else (0,) * n
        dilation = per_axis(n, args[4]) if has_dilation and len(args) > 4 else (1,) * n
        for axis, k, s, p, d in zip(range(-n, 0), kernel, stride, padding, dilation, strict=True):
            old = fields[axis]
            fields[axis] = old and field_rules.window(old, k, s, p, d, units=out.shape[axis])
        return tuple(fields)

    return rule


def _adaptive(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = list(known(args[0]) or ())
    for axis in range(-len(args[1]), 0):
        old = fields[axis]
        fields[axis] = old and field_rules.adaptive_pool(old, units=out.shape[axis])
    return tuple(fields)


def _reduction(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """mean(x, axes, keepdim) and its like"""
    fields = known(args[0]) or ()
    axes = args[1] if len(args) > 1 and args[1] is not None else list(range(len(fields)))
    gone = {axis % len(fields) for axis in (axes if isinstance(axes, list | tuple) else [axes])}
    if out.ndim == len(fields):
        return tuple(None if axis in gone else f for axis, f in enumerate(fields))
    return tuple(f for axis, f in enumerate(fields) if axis not in gone)


def _norm(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    """linalg_vector_norm(x, order, axes)"""
    return _reduction((args[0], *args[2:3]), kwargs, out, known)


def _along(default: int) -> Rule:
    """What mixes one axis, the second argument, and keeps the others."""

    def rule(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields = list(known(args[0]) or ())
        fields[args[1] if len(args) > 1 else default] = None
        return tuple(fields)

    return rule


def _of_channels(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = known(args[0]) or ()
    return (fields[0], None, *fields[2:])


def _batch_norm(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields = known(args[0]) or ()
    return (None,) * len(fields) if len(args) > 5 and args[5] is True else fields


def _layer_norm(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
    fields, n = known(args[0]) or (), len(args[1])
    return (*fields[:-n], *(None,) * n)


def _product(first: int) -> Rule:
    """Rows of the left matrix, which is argument number ``first``, keep their place."""

    def rule(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields = known(args[first])
        return (*fields[:-1], None) if fields and known(args[first + 1]) is None else (None,) * out.ndim

    return rule


def _nearest(exact: bool) -> Rule:
    """upsample_nearest2d(x, sizes, scale of each axis)"""

    def rule(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields = list(known(args[0]) or ())
        for i, axis in enumerate(range(2, out.ndim)):
            old, scale = fields[axis], args[2 + i] if len(args) > 2 + i else None
            fields[axis] = old and field_rules.nearest(old, units=out.shape[axis], scale=scale, exact=exact)
        return tuple(fields)

    return rule


def _interpolated(reach: int, antialias: bool) -> Rule:
    """upsample_bilinear2d(x, sizes, align_corners, scale of each axis)"""

    def rule(args: Args, kwargs: Mapping[str, Any], out: Tensor, known: Known) -> Fields:
        fields, corners = list(known(args[0]) or ()), bool(args[2])
        kept = [before == after for before, after in zip(args[0].shape[2:], out.shape[2:], strict=True)]
        for i, axis in enumerate(range(2, out.ndim)):
            old, scale = fields[axis], args[3 + i] if len(args) > 3 + i else None
            if not antialias and (kept[i] if reach == 1 else all(kept)):  # torch copies, whatever the scale
                scale = None
            fields[axis] = old and field_rules.interpolated(
                old,
                units=out.shape[axis],
                reach=reach,
                align_corners=corners,
                antialias=antialias,
                scale=scale,
            )
        return tuple(fields)

    return rule


REDUCTIONS = "mean sum amax amin max min argmax argmin var std var_mean logsumexp prod"
WINDOWS: dict[str, Rule] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    "max_pool2d_with_indices": _pooling(2, True),
    "max_pool3d_with_indices": _pooling(3, True),
    "avg_pool2d": _pooling(2, False),
    "avg_pool3d": _pooling(3, False),
    **{f"{kind}{n}d": _adaptive for kind in ("_adaptive_avg_pool", "adaptive_max_pool") for n in (2, 3)},
    **dict.fromkeys(REDUCTIONS.split(), _reduction),
    "linalg_vector_norm": _norm,
    **dict.fromkeys(("_softmax", "_log_softmax", "cumsum", "glu"), _along(-1)),
    "channel_shuffle": _of_channels,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_layer_norm": _layer_norm,
    "mm": _product(0),
    "addmm": _product(1),
    **{f"upsample_nearest{n}d": _nearest(exact=False) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": _nearest(exact=True) for n in (1, 2, 3)},
    **{f"upsample_{kind}": _interpolated(1, False) for kind in ("linear1d", "bilinear2d", "trilinear3d")},
    "_upsample_bilinear2d_aa": _interpolated(1, True),
    "upsample_bicubic2d": _interpolated(2, False),
    "_upsample_bicubic2d_aa": _interpolated(2, True),
}
