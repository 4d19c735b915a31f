"""Put stretches of packed layers into chains."""

import operator

from torch import fx

from concord.layers.packed.chain import Chain
from concord.layers.packed.convolution import PackedConv2d
from concord.layers.packed.floats import FloatFirst, FloatHalving
from concord.layers.packed.pool import PackedMaxPool2d

SHORTEST = 3  # nodes: for fewer it does not pay


def chain_up(own: fx.GraphModule) -> None:
    """Stretches of nodes that the kernel runs, with one input from before and one output that others read."""
    for number, stretch in enumerate(_stretches(own)):
        inputs = {a for node in stretch for a in node.all_input_nodes if a not in stretch}
        outputs = [node for node in stretch if any(user not in stretch for user in node.users)]
        if len(stretch) >= SHORTEST and len(inputs) == len(outputs) == 1:
            _replace(own, f"chain_{number}", stretch, inputs.pop(), outputs[0])


def _stretches(own: fx.GraphModule) -> list[list[fx.Node]]:
    """Nodes that follow each other and are all run by the kernel."""
    found: list[list[fx.Node]] = [[]]
    for node in own.graph.nodes:
        if _runs(own, node):
            found[-1].append(node)
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _runs(own: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_function" and node.target is operator.getitem:
        return _runs(own, node.args[0])  # type: ignore[arg-type]
    if node.op != "call_module":
        return False
    module = own.get_submodule(str(node.target))
    if isinstance(module, PackedConv2d):
        return module.plain
    return isinstance(module, FloatFirst | FloatHalving | PackedMaxPool2d)


def _replace(own: fx.GraphModule, name: str, stretch: list[fx.Node], before: fx.Node, last: fx.Node) -> None:
    graph = fx.Graph()
    copies = {before: graph.placeholder("x")}
    for node in stretch:
        copies[node] = graph.node_copy(node, lambda n: copies[n])
    graph.output(copies[last])
    own.add_submodule(name, Chain(fx.GraphModule(own, graph)))
    with own.graph.inserting_before(stretch[0]):
        made = own.graph.call_module(name, (before,))
    for user in [*last.users]:
        if user not in stretch:
            user.replace_input_with(last, made)
    for node in reversed(stretch):
        own.graph.erase_node(node)
