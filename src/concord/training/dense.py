"""Tensors that a training can take: dense, of real numbers; others are refused by member and name."""

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_leaves

from concord.errors import UsageError
from concord.tasks.task import Tree


def kind_of(tensor: Tensor) -> str | None:
    """What no checkpoint holds about a tensor, in a word; None for a dense one."""
    if tensor.is_inference():
        return "made in inference mode"
    if is_lazy(tensor):
        return "lazy and without a size after a pass"
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return f"quantized ({tensor.dtype})"
    if tensor.is_meta:
        return "on the meta device, without values"
    return None if tensor.layout == torch.strided else f"sparse ({tensor.layout})"


def refuse_tensors(name: str, member: nn.Module) -> None:
    """UsageError that names a parameter or buffer which cannot be trained and saved."""
    for path, buffer in member.named_buffers():
        if kind := kind_of(buffer):
            raise UsageError(_refusal(name, f"the buffer {path}", kind))
    for path, parameter in member.named_parameters():
        if kind := kind_of(parameter) or ("complex" if parameter.is_complex() else None):
            raise UsageError(_refusal(name, f"the parameter {path}", kind))
        if _overlaps(parameter):
            raise UsageError(_refusal(name, f"the parameter {path}", "a view in which numbers share memory"))


def in_order(tensor: Tensor) -> bool:
    """Whether its numbers fill one piece of memory, in whatever order of axes, as those of no slice do."""
    return is_lazy(tensor) or torch.empty_like(tensor, device="meta").stride() == tensor.stride()


def _overlaps(tensor: Tensor) -> bool:
    return any(step == 0 and size > 1 for step, size in zip(tensor.stride(), tensor.shape, strict=True))


def refuse_unsaved(name: str, tensors: dict[str, Tensor]) -> None:
    """UsageError that names a tensor of a state which safetensors cannot hold."""
    for key, tensor in tensors.items():
        if kind := kind_of(tensor):
            raise UsageError(_refusal(name, key, kind))


def refuse_sparse_gradients(name: str, member: nn.Module) -> None:
    """UsageError that names a parameter with a gradient that the optimisers of concord do not take."""
    for path, parameter in member.named_parameters():
        if parameter.grad is not None and (kind := kind_of(parameter.grad)):
            raise UsageError(
                f"member {name!r}: the gradient of {path} is {kind}, which neither Adam nor SGD of concord"
                " takes: build the layer with sparse=False"
            )


def refuse_output(name: str, output: Tree) -> None:
    """UsageError for an output without dense real numbers, from which no loss has a gradient."""
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    for leaf in leaves:
        if kind := kind_of(leaf) or ("complex" if leaf.is_complex() else None):
            raise UsageError(_refusal(name, "its output", kind))
    if leaves and not any(leaf.is_floating_point() for leaf in leaves):
        raise UsageError(
            f"member {name!r}: its output is {leaves[0].dtype}, and whole numbers have no gradient: give"
            " logits of a floating-point type"
        )


def _refusal(name: str, what: str, kind: str) -> str:
    cure = {
        "complex": "keep real and imaginary part (torch.view_as_real)",
        "lazy": "use it in forward, or remove it",
        "made": "build the network outside of torch.inference_mode()",
        "a": "give it memory of its own (.clone())",
    }.get(kind.partition(" ")[0], "keep its dense form")
    return f"member {name!r}: {what} is {kind}; a training needs dense tensors of real numbers: {cure}"
