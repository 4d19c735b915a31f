"""A network as an ONNX file and as a program of torch.export, with any number of samples and steps."""

import warnings
from collections import Counter

import torch
from torch.export import Dim


def free(inputs):
    """The dynamic shapes of tensors (B, T, ...), and of lengths (B,)."""
    batch, steps = Dim("batch"), Dim("steps")
    return tuple({0: batch, 1: steps} if x.ndim > 1 else {0: batch} for x in inputs)


def as_onnx(network, inputs):
    """What ONNX Runtime makes of the file, and how many operators of each kind it has."""
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(network, inputs, dynamo=True, verbose=False, dynamic_shapes=free(inputs))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    content = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def ask(*inputs):
        fed = dict(zip(names, (x.numpy() for x in inputs), strict=True))
        return [torch.from_numpy(y) for y in session.run(None, fed)]

    return ask, Counter(node.op_type for node in program.model_proto.graph.node)


def as_program(network, inputs, *, fixed=False):
    """``fixed``: for the batch and the steps of these inputs alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shapes = None if fixed else free(inputs)
        return torch.export.export(network, inputs, dynamic_shapes=shapes).module()


def assert_same(ask, network, inputs):
    """``inputs(batch, steps, lengths)`` makes what the network reads; lengths are not sorted."""
    for batch, steps in ((1, 1), (1, 5), (3, 5), (3, 23)):
        lengths = torch.tensor([max(1, steps // 2), steps, 1][:batch])
        given = inputs(batch, steps, lengths)
        with torch.no_grad():
            torch.testing.assert_close(list(ask(*given)), list(network(*given)), rtol=1e-5, atol=1e-5)
