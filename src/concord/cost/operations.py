"""What single operations of torch cost: whatever a network does outside the layers that are known by name.

Multiply-accumulates are those of ``torch.utils.flop_counter``, whose FLOPs are twice as many, and those of
products with a vector, which it leaves out.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import gcd, prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from concord.cost.arithmetic import Windows, Work, convolution, linear, per_axis, transposed_convolution
from concord.cost.rules import Rule

Args = Sequence[Any]


NOTHING = Work(0, 0, Rule({}))
VECTORS = ("mv", "addmv", "dot", "vdot")
REDUCTIONS = (
    "all amax amin any argmax argmin cumprod cumsum linalg_vector_norm logcumsumexp logsumexp max mean "
    "min norm prod std sum var var_mean"
)
COPIES = (
    "_index_put_impl_ _local_scalar_dense _reshape_copy _to_copy _unsafe_index _unsafe_view arange "
    "as_strided_ bernoulli bernoulli_ cat channel_shuffle clone constant_pad_nd contiguous copy copy_ "
    "detach_ embedding empty empty_like eye fill_ flip full full_like gather im2col index index_copy_ "
    "index_fill_ index_put index_put_ index_select item masked_scatter_ masked_select native_dropout "
    "new_empty new_empty_strided new_full new_ones new_zeros normal_ ones ones_like pixel_shuffle "
    "pixel_unshuffle rand rand_like randint randn randn_like reflection_pad1d reflection_pad2d "
    "reflection_pad3d repeat repeat_interleave replication_pad1d replication_pad2d replication_pad3d roll "
    "scalar_tensor scatter scatter_ slice_scatter split_with_sizes_copy squeeze_ stack t_ transpose_ tril "
    "triu unfold_copy uniform_ unsafe_split unsafe_split_with_sizes unsqueeze_ upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d "
    "_upsample_nearest_exact3d view_copy zero_ zeros zeros_like"
)
# torch lacks the tag, as it does for most that work in place
ELEMENTWISE = "_prelu_kernel complex floor_divide glu hardswish leaky_relu log_sigmoid_forward polar prelu"
SEVERAL = {"addcmul": 2, "addcdiv": 2, "lerp": 3}  # operations of each element: a + b c, a + t (b - a)
TAPS = {
    "upsample_linear1d": 2,
    "upsample_bilinear2d": 4,
    "_upsample_bilinear2d_aa": 4,
    "upsample_bicubic2d": 16,
    "_upsample_bicubic2d_aa": 16,
    "upsample_trilinear3d": 8,
}


def work(func: Any, args: Args, kwargs: Mapping[str, Any], out: Any) -> Work | None:
    """What one operation of the aten library did; None without a rule for it."""
    packet = func.overloadpacket
    if packet in flop_registry:
        return _products(packet, args, kwargs, out)
    name = packet.__name__
    if name in RULES:
        return RULES[name](args, out)
    each = SEVERAL.get(name.removesuffix("_"), 1)
    return _each(_elements(out), each) if elementwise(func) else None


@cache
def is_product(func: Any) -> bool:
    """Whether it has multiply-accumulates: a convolution or a product of matrices or vectors."""
    return func.overloadpacket in flop_registry or func.overloadpacket.__name__ in VECTORS


@cache
def has_rule(func: Any) -> bool:
    """Whether ``work`` knows what it does."""
    return is_product(func) or func.overloadpacket.__name__ in RULES or elementwise(func)


@cache
def elementwise(func: Any) -> bool:
    """Whether every number that comes out belongs to the place where it went in."""
    name = func.overloadpacket.__name__.removesuffix("_")
    twin = getattr(torch.ops.aten, name, func.overloadpacket)
    forms = [func, *(getattr(twin, form) for form in twin.overloads())]
    return name in ELEMENTWISE.split() or any(torch.Tag.pointwise in form.tags for form in forms)


def _elements(out: Any) -> int:
    first = out[0] if isinstance(out, tuple | list) else out
    return first.numel() if isinstance(first, Tensor) else 0


def _each(elements: int, each: int) -> Work:
    return Work(0, each * elements, Rule({"E": elements}, "", "", "E" if each == 1 else f"{each}·E"))


# --- products --------------------------------------------------------------------


def _products(packet: Any, args: Args, kwargs: Mapping[str, Any], out: Any) -> Work:
    name = packet.__name__
    if name in ("convolution", "_convolution"):  # the second is that of a traced network
        return convolved(args)
    if name in ("addmm", "mm"):
        x, w = args[:2] if name == "mm" else args[1:3]
        if x.dtype != w.dtype:  # only the meta device takes them
            raise TypeError(f"matrices of one type are needed, got {x.dtype} and {w.dtype}")
        return linear(tuple(x.shape), (None, None), w.shape[1], bias=name == "addmm").work
    macs = int(flop_registry[packet](*args, **kwargs, out_val=out)) // 2
    if name in ("bmm", "baddbmm"):
        x, w = args[-2:]
        letters = {"B": x.shape[0], "P": x.shape[1], "D": x.shape[2], "N": w.shape[2]}
        return Work(macs, 0, Rule(letters, "", "B·P·D·N"))
    return Work(macs, 0, Rule({"E": macs}, "", "E"))


def convolved(args: Args) -> Work:
    """convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups)"""
    x, weight, bias, stride, padding, dilation, transposed, extra, groups = args[:9]
    n = weight.ndim - 2
    stride, padding, dilation, extra = (per_axis(n, sizes) for sizes in (stride, padding, dilation, extra))
    windows = Windows(tuple(weight.shape[2:]), stride, padding, dilation)
    shape, fields, biased = tuple(x.shape), (None,) * x.ndim, bias is not None
    if transposed:
        filters = weight.shape[1] * groups
        answer = transposed_convolution(shape, fields, filters, windows, extra, groups=groups, bias=biased)
    else:
        found = convolution(shape, fields, weight.shape[0], windows, groups=groups, bias=biased)
        assert found is not None, "torch has run this convolution"
        answer = found
    return answer.work


def _with_vector(args: Args, out: Any) -> Work:
    """mv(matrix, vector), addmv(bias, matrix, vector), dot(vector, vector)"""
    *bias, matrix, vector = args
    filters = matrix.shape[0] if matrix.ndim == 2 else 1
    return linear(tuple(vector.shape), (None,), filters, bias=bool(bias)).work


# --- everything else -----------------------------------------------------------------


def _copy(args: Args, out: Any) -> Work:
    return NOTHING


def _reduction(args: Args, out: Any) -> Work:
    return _each(args[0].numel(), 1)


def _embedding_bag(args: Args, out: Any) -> Work:
    """_embedding_bag(table, ids, offsets, ..., weights, ...): D numbers of each id, times a weight if any."""
    weights = args[6] if len(args) > 6 else None
    return _each(args[1].numel() * args[0].shape[1], 1 if weights is None else 2)


def _softmax(args: Args, out: Any) -> Work:
    return _each(_elements(out), 3)


def _weight_norm(args: Args, out: Any) -> Work:
    """Squares summed, then a factor: two for each weight."""
    return _each(_elements(out), 2)


def _with_running_statistics(args: Args, out: Any) -> Work:
    return _each(_elements(out), 2)


def _batch_norm(args: Args, out: Any) -> Work:
    """native_batch_norm(input, weight, bias, mean, variance, training, ...)"""
    return _own_statistics(1)(args, out) if args[5] else _each(_elements(out), 2)


def _own_statistics(weight: int) -> Callable[[Args, Any], Work]:
    """A rule for normalisations whose argument number ``weight`` is the scale, or None."""

    def rule(args: Args, out: Any) -> Work:
        return _each(_elements(out), 7 if args[weight] is not None else 5)

    return rule


def _pooling(n: int, minus: int) -> Callable[[Args, Any], Work]:
    """A rule for n axes; ``minus`` is 1 where K² numbers need only K² - 1 comparisons."""

    def rule(args: Args, out: Any) -> Work:
        kernel = per_axis(n, args[1])
        area = prod(kernel)
        letters = {"E": _elements(out), "A": area}
        return Work(0, letters["E"] * (area - minus), Rule(letters, "", "", "E·(A - 1)" if minus else "E·A"))

    return rule


def _adaptive_pooling(args: Args, out: Any) -> Work:
    """Output i of m reads positions floor(i n / m) ... ceil((i + 1) n / m) - 1 of n.

    Windows meet at m - 1 places, and share a position at all of them but the gcd(n, m) - 1 whole ones: along
    one axis n + m - gcd(n, m) positions are read.
    """
    first = out[0] if isinstance(out, tuple) else out
    n = len(args[1])
    reads = prod(first.shape[:-n])
    for size, new in zip(args[0].shape[-n:], first.shape[-n:], strict=True):
        reads *= size + new - gcd(size, new)
    return _each(reads, 1)


def _interpolation(taps: int) -> Callable[[Args, Any], Work]:
    def rule(args: Args, out: Any) -> Work:
        return _each(_elements(out), 2 * taps)

    return rule


RULES: dict[str, Callable[[Args, Any], Work]] = {
    **dict.fromkeys(COPIES.split(), _copy),
    **dict.fromkeys(REDUCTIONS.split(), _reduction),
    **{name: _interpolation(taps) for name, taps in TAPS.items()},
    **dict.fromkeys(VECTORS, _with_vector),
    "col2im": _reduction,  # what overlaps is summed up
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _embedding_bag),
    "_softmax": _softmax,
    "_log_softmax": _softmax,
    "_safe_softmax": _softmax,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _with_running_statistics,
    "_native_batch_norm_legit": _own_statistics(1),
    "native_layer_norm": _own_statistics(2),
    "_weight_norm_interface": _weight_norm,
    "native_group_norm": _own_statistics(1),
    "max_pool2d_with_indices": _pooling(2, 1),
    "max_pool3d_with_indices": _pooling(3, 1),
    "avg_pool2d": _pooling(2, 0),
    "avg_pool3d": _pooling(3, 0),
    "_adaptive_avg_pool2d": _adaptive_pooling,
    "_adaptive_avg_pool3d": _adaptive_pooling,
    "adaptive_max_pool2d": _adaptive_pooling,
    "adaptive_max_pool3d": _adaptive_pooling,
}
