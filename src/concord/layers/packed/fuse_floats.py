"""Join float layers: what comes out is rounded otherwise, and is not equal bit for bit."""

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from concord.layers.packed.floats import FloatFirst, FloatHalving
from concord.layers.packed.graph import module_of, once, only_user
from concord.layers.packed.thresholds import BatchNorm, has_statistics

FEW = 4  # channels of an input that are spread out as planes
SUMMANDS = 2048


def join_floats(own: fx.GraphModule) -> None:
    """Every float convolution takes in what follows it, in the form that its place allows."""
    for node, conv in [*once(own)]:
        if type(conv) is not nn.Conv2d or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            continue
        last, norm = _followed_by_norm(own, node)
        plain = conv.groups == 1 and conv.dilation == (1, 1)
        before = node.args[0]
        average = module_of(own, before)
        if plain and conv.in_channels <= FEW and conv.weight[0].numel() <= SUMMANDS:
            _first(own, node, conv, last, norm)
        elif plain and isinstance(before, fx.Node) and only_user(before) is node and _halves(average, conv):
            assert isinstance(average, nn.AvgPool2d)
            side = average.kernel_size if isinstance(average.kernel_size, int) else average.kernel_size[0]
            node.update_arg(0, before.args[0])
            _put(own, node, last, FloatHalving(conv, norm, side, average.ceil_mode))
        elif norm is not None:
            _put(own, node, last, fuse_conv_bn_eval(conv, norm))


def _followed_by_norm(own: fx.GraphModule, node: fx.Node) -> tuple[fx.Node, BatchNorm | None]:
    after = only_user(node)
    norm = module_of(own, after)
    if after is not None and isinstance(norm, nn.BatchNorm2d) and has_statistics(norm):
        return after, norm
    return node, None


def _first(
    own: fx.GraphModule, node: fx.Node, conv: nn.Conv2d, last: fx.Node, norm: BatchNorm | None
) -> None:
    after, relu, pool = only_user(last), False, (0, 1, 0)
    if after is not None and isinstance(module_of(own, after), nn.ReLU):
        last, relu = after, True
        after = only_user(last)
    largest = module_of(own, after)
    if after is not None and isinstance(largest, nn.MaxPool2d) and _square(largest):
        last, pool = after, _square(largest)
    _put(own, node, last, FloatFirst(conv, norm, relu, pool))


def _square(pool: nn.MaxPool2d) -> tuple[int, int, int]:
    """Side, stride and padding; () for another form."""
    sizes = (pool.kernel_size, pool.stride, pool.padding)
    same = [size if isinstance(size, int) else size[0] if len({*size}) == 1 else -1 for size in sizes]
    if pool.ceil_mode or pool.return_indices or pool.dilation not in (1, (1, 1)) or -1 in same:
        return ()  # type: ignore[return-value]
    return same[0], same[1], same[2]


def _halves(average: nn.Module | None, conv: nn.Conv2d) -> bool:
    """Whether it is an average of windows that do not overlap, before a 1x1 convolution."""
    if not isinstance(average, nn.AvgPool2d) or conv.kernel_size != (1, 1) or conv.stride != (1, 1):
        return False
    sizes = {average.kernel_size, average.stride}
    whole = len(sizes) == 1 and isinstance(average.kernel_size, int) and average.padding in (0, (0, 0))
    return whole and average.divisor_override is None and tuple(conv.padding) == (0, 0)


def _put(own: fx.GraphModule, node: fx.Node, last: fx.Node, made: nn.Module) -> None:
    """The module stands at ``node`` for all up to ``last``."""
    own.set_submodule(str(node.target), made)
    if last is not node:
        last.replace_all_uses_with(node)
        between = last
        while between is not node:
            before = between.args[0]
            own.graph.erase_node(between)
            assert isinstance(before, fx.Node)
            between = before
