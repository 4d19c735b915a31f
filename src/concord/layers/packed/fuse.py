"""Join what lies between packed convolutions, so that one hands bits to the next.

The graph of a network is followed by torch.fx. Each function looks for one form in it and rewrites it; layers
that are called in two places are left alone.
"""

import operator
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from concord.layers.packed.convolution import PackedConv2d, PackedLinear
from concord.layers.packed.frozen import Frozen
from concord.layers.packed.fuse_chains import chain_up
from concord.layers.packed.fuse_floats import join_floats
from concord.layers.packed.graph import module_of, once, only_user
from concord.layers.packed.in_place import Noted, settled
from concord.layers.packed.pool import PackedMaxPool2d
from concord.layers.packed.thresholds import affine, has_statistics, threshold

ADDITIONS = (operator.add, operator.iadd, torch.add)
THRESHOLDS = "thresholds"  # meta of a node: the batch normalisation that they are made of
IDLE = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout)  # in evaluation


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Frozen) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Noted(node, self)


def fused(network: nn.Module, floats: bool) -> nn.Module:
    """The network with layers joined, with ``floats`` float ones too.

    It is given back as it is where torch.fx cannot follow its forward method.
    """
    try:
        graph = _Tracer().trace(network)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError, AttributeError, LookupError, NameError):
        return (
            network  # it branches on values or shapes, has a packed network in it, or does not take stand-ins
        )
    own = fx.GraphModule(network, graph, type(network).__name__)
    if not settled(own):
        return network
    steps = [_drop_idle, _thresholds_before, _scales_after, _shortcuts, _pools, _hand_on]
    for step in [*steps, join_floats] if floats else steps:
        step(own)
        own.graph.eliminate_dead_code()
    own.delete_all_unused_submodules()
    chain_up(own)
    own.graph.lint()
    own.recompile()
    return own


def _convolutions(own: fx.GraphModule) -> Iterator[tuple[fx.Node, PackedConv2d]]:
    for node, module in once(own):
        if isinstance(module, PackedConv2d):
            yield node, module


def _replace(own: fx.GraphModule, old: fx.Node, new: fx.Node) -> None:
    old.replace_all_uses_with(new)
    own.graph.erase_node(old)


def _drop_idle(own: fx.GraphModule) -> None:
    for node, module in [*once(own)]:
        if isinstance(module, IDLE):
            _replace(own, node, node.args[0])  # type: ignore[arg-type]


def _thresholds_before(own: fx.GraphModule) -> None:
    """norm -> packed: the packed layer compares with thresholds."""
    for node, module in once(own):
        before = node.args[0]
        norm = module_of(own, before)
        mapped = (
            isinstance(module, PackedConv2d) and module.windows is None and isinstance(norm, nn.BatchNorm2d)
        )
        rows = (
            isinstance(module, PackedLinear) and not module.scale_inputs and isinstance(norm, nn.BatchNorm1d)
        )
        if (mapped or rows) and has_statistics(norm):
            found = threshold(norm)
            module.cut, module.side = found.cut, found.side
            node.meta[THRESHOLDS] = before.target  # type: ignore[union-attr]
            node.update_arg(0, before.args[0])  # type: ignore[union-attr]


def _scales_after(own: fx.GraphModule) -> None:
    """packed -> norm, where nothing else sees what lies between."""
    for node, module in [*_convolutions(own)]:
        after = only_user(node)
        norm = module_of(own, after)
        if after is not None and module.plain and isinstance(norm, nn.BatchNorm2d) and has_statistics(norm):
            module.factor, module.shift = affine(norm)
            _replace(own, after, node)


def _shortcuts(own: fx.GraphModule) -> None:
    """packed + other: added while the sums are at hand."""
    for node, module in [*_convolutions(own)]:
        after = only_user(node)
        if after is None or after.op != "call_function" or after.target not in ADDITIONS or after.kwargs:
            continue
        others = [arg for arg in after.args if arg is not node]
        if not module.plain or len(others) != 1 or not isinstance(others[0], fx.Node):
            continue
        with own.graph.inserting_before(after):
            joined = own.graph.call_module(str(node.target), (node.args[0], others[0]))
        joined.meta.update(node.meta)
        _replace(own, after, joined)
        own.graph.erase_node(node)


def _readers(own: fx.GraphModule, node: fx.Node) -> list[tuple[fx.Node, PackedConv2d]]:
    """Packed convolutions that read the node with one padding and one threshold, those of the first.

    Thresholds are the same where they come from one layer, not where they are equal: so what is joined does
    not depend on the numbers, and the state dict of a network with other numbers fits.
    """
    found: list[tuple[fx.Node, PackedConv2d]] = []
    for user, module in _convolutions(own):
        if user.args[0] is node and module.plain and (not found or _alike((user, module), found[0])):
            found.append((user, module))
    return found


def _alike(a: tuple[fx.Node, PackedConv2d], b: tuple[fx.Node, PackedConv2d]) -> bool:
    same = a[0].meta.get(THRESHOLDS) == b[0].meta.get(THRESHOLDS)
    return same and a[1].sizes.padding[1] == b[1].sizes.padding[1]


def _need_bits_alone(node: fx.Node, readers: list[tuple[fx.Node, PackedConv2d]]) -> bool:
    """Whether nothing else reads the node, nor a reader as its shortcut too."""
    return len(node.users) == len(readers) and all(node not in user.args[1:] for user, _ in readers)


def _give(module: PackedConv2d, readers: list[tuple[fx.Node, PackedConv2d]], columns: int) -> Tensor | None:
    """The thresholds of the readers move to the layer that gives the bits; -> their sides."""
    first = readers[0][1]
    module.out_cut, module.out_side, module.columns = first.cut, first.side, columns
    for _, reader in readers:
        reader.cut = reader.side = None
    return module.out_side


def _pools(own: fx.GraphModule) -> None:
    """packed -> maximum pooling -> packed: bits are pooled."""
    for node, module in [*_convolutions(own)]:
        after = only_user(node)
        pool = module_of(own, after)
        if after is None or not module.plain or not isinstance(pool, nn.MaxPool2d) or len(node.args) > 1:
            continue
        readers = _readers(own, after)
        if pool.ceil_mode or pool.return_indices or not readers or not _need_bits_alone(after, readers):
            continue
        side = _give(module, readers, 0)
        module.gives = "bits"
        columns = readers[0][1].sizes.padding[1]
        name = f"{after.target}_{after.name}_bits"  # the pooling itself may be called elsewhere
        own.add_submodule(name, PackedMaxPool2d(pool, side, module.sizes.filters, columns))
        after.target = name


def _hand_on(own: fx.GraphModule) -> None:
    """packed -> packed: bits alone, or beside the maps that others read."""
    for node, module in [*_convolutions(own)]:
        readers = _readers(own, node)
        if module.gives != "maps" or not module.plain or not readers:
            continue
        _give(module, readers, readers[0][1].sizes.padding[1])
        module.gives = "bits"
        if len(node.args) == 1 and _need_bits_alone(node, readers):
            continue
        module.gives = "both"
        with own.graph.inserting_after(node):
            bits = own.graph.call_function(operator.getitem, (node, 1))
            maps = own.graph.call_function(operator.getitem, (node, 0))
        for reader, _ in readers:
            reader.update_arg(0, bits)
        for user in [*node.users]:
            if user not in (bits, maps):
                user.replace_input_with(node, maps)
