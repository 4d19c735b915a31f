"""Sequences of different lengths as a data set: a batch is as long as its longest sequence."""

from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

import torch
from torch import Tensor

from concord.data.dataset import Draw, Spec, Tree
from concord.data.sequences.files import Known, Listed


@dataclass(frozen=True)
class Scale:
    """(x - mean) / std of every number of a step, over all steps of the training."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor) -> "Scale":
        """A number that never changes gets std 1. Shape: (N, T, D), (N,)"""
        steps = x[_there(x.shape[1], lengths)].double()  # (S, D)
        std = [value or 1.0 for value in steps.std(0, correction=0).tolist()]
        return cls(tuple(steps.mean(0).tolist()), tuple(std))

    def __call__(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Shape: (B, T, D), (B,) -> (B, T, D), 0 behind an end"""
        mean, std = (torch.tensor(row, dtype=x.dtype) for row in (self.mean, self.std))
        return (x - mean) / std * _there(x.shape[1], lengths)[..., None]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Samples (x, lengths) with a class each (B,), or one for each step (B, T), -1 where none is asked for.

    With ``free`` labels a target is {"labels": (B, L), "steps": (B,)}, -1 behind the last label; label 0 is
    the blank of temporal classification, and class k is label k + 1.
    """

    listed: Listed
    free: bool = False
    scale: Scale | None = None  # of numbers

    @property
    def known(self) -> Known:
        return Known(self.listed.alphabet, self.listed.classes)

    @property
    def spec(self) -> Spec:
        x = self.listed.problem.x
        return Spec("sequences", (("T", *x.shape[2:]), ()), (x.dtype, torch.int64), self.listed.classes)

    @cached_property
    def fingerprint(self) -> str:
        known = repr((self.listed.alphabet, self.listed.classes, self.free, self.scale)).encode()
        digest = sha256(known)
        for tensor in self.listed.problem:
            digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.listed.problem.lengths)

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tree, Tree]:
        (x, lengths), y = self.inputs(index), self.listed.problem.y[index]
        if self.free:
            return (x, lengths), {"labels": torch.where(y < 0, y, y + 1), "steps": lengths}
        return (x, lengths), (y if y.ndim == 1 else y[:, : x.shape[1]])

    def inputs(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Shape: (B,) -> x (B, T) or (B, T, D), lengths (B,)"""
        x, lengths = (tensor[index] for tensor in self.listed.problem[:2])
        x = x[:, : int(lengths.max())]
        return (x if self.scale is None else self.scale(x, lengths)), lengths

    def name(self, i: int) -> str:
        return self.listed.names[i]

    def some(self, numbers: Tensor) -> "Sequences":
        """The samples of these numbers."""
        problem = type(self.listed.problem)(*(tensor[numbers] for tensor in self.listed.problem))
        names = tuple(self.listed.names[i] for i in numbers.tolist())
        return replace(self, listed=replace(self.listed, problem=problem, names=names))


def _there(steps: int, lengths: Tensor) -> Tensor:
    """Shape: (B,) -> (B, T)"""
    return torch.arange(steps) < lengths[:, None]
