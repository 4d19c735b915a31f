"""Oracles of what an update costs: what autograd runs and saves for real, counted without concord's rules."""

from math import prod

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten


class Products(TorchDispatchMode):
    """Multiply-accumulates of both passes, by the sizes of what goes in and comes out."""

    def __init__(self):
        super().__init__()
        self.forward = self.backward = 0
        self.in_backward = False
        self.masks = []  # (weights of the convolution, gradient of its input?, of its weights?)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out, macs = func(*args, **(kwargs or {})), 0
        if func is aten.convolution.default:
            macs = convolved(args[0], args[1], out, args[6])
        elif func is aten.convolution_backward.default:
            grad, x, weight, wanted = args[0], args[1], args[2], args[-1]
            macs = (wanted[0] + wanted[1]) * convolved(x, weight, grad, args[7])
            self.masks.append((tuple(weight.shape), *wanted[:2]))
        elif func in (aten.mm.default, aten.bmm.default, aten.mv.default, aten.dot.default):
            macs = args[0].numel() * prod(args[1].shape[args[1].ndim - 1 :] if args[1].ndim > 1 else ())
        elif func is aten.addmm.default:
            macs = args[1].numel() * args[2].shape[1]
        elif func is aten.baddbmm.default:
            macs = args[1].numel() * args[2].shape[2]
        if self.in_backward:
            self.backward += macs
        else:
            self.forward += macs
        return out


def convolved(x, weight, y, transposed):
    """Every output place reads K² M / G numbers; of a transposed one every input writes to K² N / G."""
    return (x if transposed else y).numel() * prod(weight.shape[1:])


def trained(network, *inputs):
    """What one real update runs, and the bytes that it saves in storages of their own."""
    owned = {x.untyped_storage().data_ptr() for x in (*network.parameters(), *network.buffers())}
    saved, seen = {}, Products()

    def pack(x):
        storage = x.untyped_storage()
        if storage.data_ptr() not in owned:
            saved[storage.data_ptr()] = storage.nbytes()
        return x

    torch.backends.mkldnn.enabled, onednn = False, torch.backends.mkldnn.enabled
    try:
        with seen:
            with saved_tensors_hooks(pack, lambda x: x):
                outputs = [y for y in tree_leaves(network(*inputs)) if y.requires_grad]
            seen.in_backward = True
            torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])
    finally:
        torch.backends.mkldnn.enabled = onednn
    return seen, sum(saved.values())
