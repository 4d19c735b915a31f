"""One forward pass, watched: what every layer and every operation outside known layers does, in order.

A layer that ``modules`` knows is answered from its sizes, with an empty tensor of the right shape: on the
meta device no kernel runs at all, and the pass takes as long for a large picture as for a small one.
Everything else runs, and its operations are seen one by one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from concord.cost import local, values
from concord.cost.arithmetic import Answer, Fields, Shape, Work, numbers, owning
from concord.cost.cells import recurrence_of
from concord.cost.fitting import Doubt
from concord.cost.memory import Memory, dense
from concord.cost.modules import LEAVES, in_place
from concord.cost.operations import NOTHING, work
from concord.cost.record import Layer
from concord.cost.recurrent import Run

MARK = "_concord_fields"  # a tensor of this pass carries what its axes see
# torch answers these in Python on the meta device: half of the time of a residual network
SAME_SHAPE = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)


class Walk(TorchDispatchMode):
    """What was seen so far.

    Entered as a context, it sees every operation; ``call`` stands for module calls.
    """

    def __init__(self, network: nn.Module, *, real: bool) -> None:
        super().__init__()
        self.real = real  # tensors have values, which every layer must therefore compute
        self.layers: list[Layer] = []
        self.without_rule: dict[str, None] = {}
        self.modules = dict(network.named_modules())  # one walk through the tree: it is the slowest part
        self.paths = {id(module): path for path, module in self.modules.items()}
        self.where: list[tuple[str, nn.Module]] = [("", network)]
        self.silent = 0
        self.parameters = _distinct(module._parameters for module in self.modules.values())
        self.buffers = _distinct(module._buffers for module in self.modules.values())
        self.trained = {id(x) for x in self.parameters}
        self.used: set[int] = set()  # ids of parameters and buffers that some row has counted
        self.owned = {x.untyped_storage()._cdata: x for x in (*self.buffers, *self.parameters)}
        self.memory = Memory(self.owned)

    # --- modules ---------------------------------------------------------------

    def call(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """In place of ``nn.Module.__call__``."""
        kind, x = type(module), args[0] if args else None
        if self.silent or kwargs or not isinstance(x, Tensor) or _changed(module):
            return self._entered(module, args, kwargs)
        if kind in LEAVES and len(args) == 1 and (answer := self._known(module, x)) is not None:
            return self._answered(module, x, answer)
        if (run := recurrence_of(module, x)) is not None:
            return self._recurrent(module, args, run)
        return self._entered(module, args, kwargs)

    def _known(self, module: nn.Module, x: Tensor) -> Answer | None:
        """What the layer does, from its sizes; where they leave a doubt, numbers decide."""
        try:
            return LEAVES[type(module)](module, x, self.seen(x) or (None,) * x.ndim)
        except Doubt as doubt:
            if self.real:
                return None
            self._place(doubt, self.paths.get(id(module), self.where[-1][0]), module, (x,))
            raise

    def _answered(self, module: nn.Module, x: Tensor, answer: Answer) -> Tensor:
        known = self.seen(x) is not None
        if self.real:
            out = self._run(module, (x,))
        else:
            out = x if in_place(module) else self._empty(answer.shape, x)
        if known:
            setattr(out, MARK, answer.fields)
        self._module_row(module, out, answer.work)
        return out

    def _recurrent(self, module: nn.Module, args: Any, run: Run) -> Any:
        """An initial state is checked by running the layer."""
        if self.real or len(args) > 1:
            out = self._run(module, args)
        else:
            hidden, *memory = (self._empty(shape, args[0]) for shape in run.states)
            out = self._empty(run.output, args[0]), (hidden, *memory) if memory else hidden
        self._module_row(module, out[0], run.work)
        self._written(run.layers_below, out[0])
        for x in local.flat(out):
            setattr(x, MARK, (None,) * x.ndim)
            self.memory.made(x, beside=True)
        return out

    def _run(self, module: nn.Module, args: Any) -> Any:
        """What the module gives, with its operations unseen."""
        self.silent += 1
        try:
            return self._entered(module, args, {})
        finally:
            self.silent -= 1

    def _empty(self, shape: Shape, like: Tensor) -> Tensor:
        """A tensor for which its layer answers."""
        self.silent += 1
        out = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.silent -= 1
        return out

    def _entered(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        self.where.append((self.paths.get(id(module), self.where[-1][0]), module))
        try:
            rows = len(self.layers)
            out = CALL(module, *args, **kwargs)
            if len(self.layers) > rows and _one_layer(module) and isinstance(out, Tensor):
                self._reshaped(out)
            return out
        except (Exception, SystemExit) as error:
            self._place(error, self.where[-1][0], module, args)
            raise
        finally:
            self.where.pop()

    def _place(self, error: BaseException, path: str, module: nn.Module, args: Any) -> None:
        """Note on the error which layer it comes from, if none inside has."""
        if not hasattr(error, "concord_place"):
            shapes = tuple(tuple(x.shape) for x in args if isinstance(x, Tensor))
            error.concord_place = path, type(module).__name__, shapes  # type: ignore[attr-defined]

    # --- operations --------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.real:
            values.check(func, args)
        if func in SAME_SHAPE and not self.real and not kwargs and _alike(*args):
            out = torch.empty(args[0].shape, dtype=args[0].dtype, device="meta")
        else:
            out = func(*args, **kwargs)
        if self.silent:
            return out
        if not self.real:
            values.follow(func, args, kwargs, out)
        tensors = [x for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, Tensor)]
        for x in tensors:
            dense(x)
            fields = local.after(func, args, kwargs, x, self.seen)
            if func.is_view:
                self.memory.view(x)
            if fields is not None:
                self._mark(x, fields, written=func._schema.is_mutable)
        if tensors:
            self._operation(func, args, kwargs, out, tensors[0])
            for x in tensors[1:]:
                self.memory.made(x, beside=True)
        elif func._schema.is_mutable and any(self.seen(x) is not None for x in _tensors(args)):
            for x in _tensors(args[:1]):  # _foreach_add_(maps, others) gives nothing back
                self._mark(x, (None,) * x.ndim, written=True)
        return out

    def _mark(self, x: Tensor, fields: Fields, *, written: bool) -> None:
        """Note what the axes of x see, which may be ``written`` over what they saw."""
        if written and fields != self.seen(x):
            self.memory.patch(x)
        setattr(x, MARK, fields)

    def _operation(self, func: Any, args: Any, kwargs: Any, out: Any, first: Tensor) -> None:
        if func.is_view:
            return
        name, done = func.overloadpacket.__name__, work(func, args, kwargs, out)
        if done is None:
            self.without_rule[name] = None
        path, module = self.where[-1]
        if _one_layer(module):
            name = type(module).__name__  # the one operation of a layer that ``modules`` does not know
        self._row(path, name, first, done or NOTHING, *self._claimed_by(args))

    def seen(self, x: Tensor) -> Fields | None:
        """What the axes of x see; None if it does not depend on the input."""
        if self.memory.is_patched(x):
            return (None,) * x.ndim
        return getattr(x, MARK, None)

    def _claimed_by(self, args: Any) -> tuple[list[Shape], list[Shape]]:
        """Shapes of the parameters and buffers among the arguments, or of which an argument is a view."""
        owned = [self.owned.get(x.untyped_storage()._cdata) for x in _tensors(args)]
        parameters = self.claim(x for x in owned if id(x) in self.trained)
        return parameters, self.claim(owned)  # whatever is not claimed by now is a buffer

    # --- rows -----------------------------------------------------------------------

    def _module_row(self, module: nn.Module, out: Tensor, done: Work) -> None:
        parameters = self.claim(module._parameters.values())
        buffers = self.claim(module._buffers.values())
        path = self.paths.get(id(module), self.where[-1][0])
        self._row(path, type(module).__name__, out, done, parameters, buffers)

    def claim(self, tensors: Iterable[Tensor | None]) -> list[Shape]:
        """Shapes of those parameters or buffers that no row has counted yet."""
        claimed = []
        for x in tensors:
            if x is not None and id(x) not in self.used:
                self.used.add(id(x))
                claimed.append(tuple(x.shape))
        return claimed

    def _row(
        self,
        path: str,
        kind: str,
        out: Tensor,
        done: Work,
        parameters: Sequence[Shape],
        buffers: Sequence[Shape],
    ) -> None:
        made = self.memory.made(out)
        if not (done.macs or done.other or made or parameters or buffers):
            return
        fields, shape = self.seen(out) or (None,) * out.ndim, tuple(out.shape)
        owned, done = (numbers(parameters), numbers(buffers)), owning(done, parameters)
        self.layers.append(Layer(path, kind, shape, *owned, done.macs, done.other, made, 1, done, fields))

    def _written(self, often: int, like: Tensor) -> None:
        """Maps such as ``like`` that the last row made and dropped on its way."""
        for _ in range(often):
            made = self.memory.made(self._empty(tuple(like.shape), like))
            self.layers[-1] = replace(self.layers[-1], activations=self.layers[-1].activations + made)

    def _reshaped(self, out: Tensor) -> None:
        """A layer that works in another form (1-d pooling in 2-d) stands in its row with what it gives."""
        row, shape = self.layers[-1], tuple(out.shape)
        if row.output != shape and prod(row.output) == prod(shape):
            fields = self.seen(out) or (None,) * out.ndim
            self.layers[-1] = replace(row, output=shape, fields=fields)


CALL = nn.Module.__call__


def _one_layer(module: nn.Module) -> bool:
    """Whether it is a layer of torch.nn with nothing inside."""
    return type(module).__module__.startswith("torch.nn.modules.") and not module._modules


def _distinct(owned: Iterable[Mapping[str, Tensor | None]]) -> list[Tensor]:
    """Each tensor once, however many modules share it."""
    return list({id(x): x for tensors in owned for x in tensors.values() if x is not None}.values())


def _tensors(args: Any) -> list[Tensor]:
    return [x for x in local.flat(args) if isinstance(x, Tensor)]


def _alike(a: Tensor, b: Any) -> bool:
    return isinstance(b, Tensor) and a.shape == b.shape and a.dtype == b.dtype and a.is_meta and b.is_meta


def _changed(module: nn.Module) -> bool:
    """Whether a call does more, or something else, than the class of the module says."""
    return bool(module._forward_hooks or module._forward_pre_hooks or "forward" in module.__dict__)
