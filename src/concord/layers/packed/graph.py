"""Look at the graph of a network, as torch.fx gives it."""

from collections import Counter
from collections.abc import Iterator

from torch import fx, nn


def module_of(own: fx.GraphModule, node: object) -> nn.Module | None:
    """The module that a node calls with one input."""
    if not isinstance(node, fx.Node) or node.op != "call_module" or node.kwargs:
        return None
    return own.get_submodule(str(node.target))


def once(own: fx.GraphModule) -> Iterator[tuple[fx.Node, nn.Module]]:
    """Nodes with the modules that they alone call."""
    modules = [(node, module_of(own, node)) for node in own.graph.nodes]
    times = Counter(id(module) for _, module in modules)
    for node, module in modules:
        if module is not None and times[id(module)] == 1:
            yield node, module


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone reads this one."""
    return next(iter(node.users)) if len(node.users) == 1 else None
