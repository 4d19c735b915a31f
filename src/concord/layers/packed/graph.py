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
    called = [node for node in own.graph.nodes if node.op == "call_module"]
    times = Counter(id(own.get_submodule(node.target)) for node in called)
    for node in called:
        module = module_of(own, node)
        if module is not None and times[id(module)] == 1:
            yield node, module


def only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone reads this one."""
    return next(iter(node.users)) if len(node.users) == 1 else None
