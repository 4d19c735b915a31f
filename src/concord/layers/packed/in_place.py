"""Values that a network changes in place while others read them.

Layers that are joined read their inputs earlier or later than they did, so what they read must not change.
"""

import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx, nn

from concord.layers.packed.frozen import Frozen

CHANGING = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
VIEWS = {
    "view", "reshape", "flatten", "unflatten", "transpose", "permute", "movedim", "squeeze", "unsqueeze",
    "getitem", "chunk", "split", "narrow", "select", "unbind", "expand", "detach", "contiguous", "to",
    "float", "dropout",
}  # fmt: skip
VIEW_MODULES = (nn.Identity, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
NEW = (Frozen, nn.BatchNorm1d, nn.BatchNorm2d, nn.Conv2d, nn.Linear)  # what they give is memory of its own


class Noted(fx.Proxy):
    """A stand-in that knows x += y from x + y, and so on; torch.fx takes them for the same."""

    def __iadd__(self, other: object) -> fx.Proxy:
        return self._noted(operator.iadd, other)

    def __isub__(self, other: object) -> fx.Proxy:
        return self._noted(operator.isub, other)

    def __imul__(self, other: object) -> fx.Proxy:
        return self._noted(operator.imul, other)

    def __itruediv__(self, other: object) -> fx.Proxy:
        return self._noted(operator.itruediv, other)

    def _noted(self, operation: Callable[[Any, Any], Any], other: object) -> fx.Proxy:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})


def settled(own: fx.GraphModule) -> bool:
    """Whether no value is changed that others read, once x += y is x + y where x was read before alone."""
    order = {node: place for place, node in enumerate(own.graph.nodes)}
    for node in own.graph.nodes:
        others = [user for user in _others(own, node) if user is not node]
        read_before = all(order[user] < order[node] and _gives_new(own, user) for user in others)
        if others and node.target is operator.iadd and read_before:
            node.target = operator.add
        elif others:
            return False
    return True


def _others(own: fx.GraphModule, node: fx.Node) -> Iterator[fx.Node]:
    """Who reads what the node changes in place, if it does."""
    value = _changed(own, node)
    before = node
    while isinstance(value, fx.Node):
        yield from (user for user in value.users if user is not before)
        before, value = value, _viewed(own, value)


def _changed(own: fx.GraphModule, node: fx.Node) -> object:
    """The value that a node changes in place; None for other nodes."""
    if node.op == "call_module":
        changes = bool(getattr(own.get_submodule(str(node.target)), "inplace", False))
    elif node.op == "call_method":
        changes = str(node.target).endswith("_") and not str(node.target).endswith("__")
    elif node.op == "call_function":
        if "out" in node.kwargs:
            return node.kwargs["out"]
        name = getattr(node.target, "__name__", "")
        changes = node.target in CHANGING or name.endswith("_") or _inplace(node)
    else:
        return None
    return node.args[0] if changes and node.args else None


def _inplace(node: fx.Node) -> bool:
    """Of functions such as torch.nn.functional.relu."""
    assert callable(node.target)
    try:
        given = inspect.signature(node.target).bind(*node.args, **node.kwargs).arguments
    except (TypeError, ValueError):  # of those written in C nothing is known
        return bool(node.kwargs.get("inplace", False))
    return bool(given.get("inplace", False))


def _viewed(own: fx.GraphModule, node: fx.Node) -> object:
    """The value whose memory the node shares, if it does."""
    if not node.args:
        return None
    if node.op == "call_module":
        same = isinstance(own.get_submodule(str(node.target)), VIEW_MODULES)
    else:
        same = getattr(node.target, "__name__", node.target) in VIEWS
    return node.args[0] if same or _changed(own, node) is not None else None


def _gives_new(own: fx.GraphModule, node: fx.Node) -> bool:
    return node.op == "call_module" and isinstance(own.get_submodule(str(node.target)), NEW)
