"""One update, watched: what every layer computes forwards and backwards, keeps in between, and moves.

Autograd runs for real, on tensors without numbers, so that what it leaves out is left out: the gradient of
the network's input, those of frozen parameters, and whatever no gradient flows through. A node of its graph
belongs to the layer that was running when the node was made. A product of a backward pass multiplies the
gradient with one factor of the product before, and is the gradient of the other factor: of an input, if that
depends on the input of the network, and else of weights.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from concord.cost.local import flat
from concord.cost.memory import dense
from concord.cost.moved import moved_bytes
from concord.cost.operations import convolved, has_rule, is_product, work

CALL = nn.Module.__call__
aten = torch.ops.aten
OF_CONVOLUTION = aten.convolution_backward
# element-wise, for tensors of one shape: torch answers these in Python on the meta device, which takes long
ALIKE = (
    aten.add.Tensor,
    aten.mul.Tensor,
    aten.sigmoid_backward.default,
    aten.tanh_backward.default,
    aten.threshold_backward.default,
)
# backward passes without products; torch lacks the tag of an element-wise operation for most of them
WITHOUT_PRODUCTS = (
    "_adaptive_avg_pool2d _adaptive_avg_pool3d _embedding_bag_dense _embedding_bag _log_softmax _softmax "
    "_prelu_kernel _weight_norm_interface adaptive_max_pool2d adaptive_max_pool3d avg_pool2d avg_pool3d "
    "embedding embedding_dense glu hardsigmoid hardswish hardtanh im2col log_sigmoid "
    "max_pool2d_with_indices max_pool3d_with_indices leaky_relu native_batch_norm native_dropout "
    "native_group_norm native_layer_norm reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d select slice unfold upsample_bicubic2d "
    "upsample_bilinear2d upsample_linear1d upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "upsample_trilinear3d _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d value_selecting_reduction"
)


@dataclass(slots=True)
class Spent:
    """What one layer has taken so far."""

    forward: int = 0  # MACs
    inputs: int = 0  # MACs of gradients of what depends on the network's input
    weights: int = 0  # MACs of all other gradients
    kept: int = 0  # bytes
    moved: int = 0  # bytes


class Factor(NamedTuple):
    """One of the two tensors of a product, by its storage."""

    storage: ref[Any]
    depends: bool  # on the network's input


class Product(NamedTuple):
    macs: int
    factors: tuple[Factor, Factor]


class Saved:
    """A tensor, for as long as a node of the graph holds it."""

    __slots__ = ("__weakref__", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Update(TorchDispatchMode):
    """What was seen so far.

    Entered as a context, it sees every operation; ``call`` stands for module calls, ``pack`` and ``unpack``
    for what autograd saves.
    """

    def __init__(self, network: nn.Module, inputs: Iterable[Tensor]) -> None:
        super().__init__()
        self.spent: dict[str, Spent] = defaultdict(Spent)
        self.without_rule: dict[str, None] = {}
        self.paths = {id(module): path for path, module in network.named_modules()}
        self.where = [""]
        self.places: dict[int, str] = {}  # where the nodes of the graph were made, by their numbers
        self.newest = torch._C._autograd._get_sequence_nr() - 1
        self.products: dict[int, list[Product]] = defaultdict(list)  # by the number of their node
        self.saved: list[tuple[ref[Saved], str]] = []
        self.state = {_key(x) for x in (*network.parameters(), *network.buffers())}
        self.dependent: dict[int, ref[Any]] = {}  # storages of what depends on the input
        self._depend(inputs)

    # --- modules, and what is saved for their backward passes --------------------------

    def call(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """In place of ``nn.Module.__call__``."""
        self.where.append(self.paths.get(id(module), self.where[-1]))
        try:
            return CALL(module, *args, **kwargs)
        except (Exception, SystemExit) as error:
            if not hasattr(error, "concord_place"):
                shapes = tuple(tuple(x.shape) for x in args if isinstance(x, Tensor))
                error.concord_place = self.where[-1], type(module).__name__, shapes  # type: ignore[union-attr]
            raise
        finally:
            self.where.pop()

    def pack(self, x: Tensor) -> Saved:
        """Autograd saves x."""
        saved = Saved(x.detach())  # x itself may be the output of the node that holds it: a circle
        self.saved.append((ref(saved), self.where[-1]))
        return saved

    def unpack(self, saved: Saved) -> Tensor:
        return saved.tensor

    def keep(self) -> None:
        """The forward pass has ended: each storage that is held was kept by the layer that saved it first.

        Parameters and buffers are there anyway.
        """
        counted = set(self.state)
        for held, path in self.saved:
            if (saved := held()) is not None and (key := _key(saved.tensor)) not in counted:
                counted.add(key)
                self.spent[path].kept += saved.tensor.untyped_storage().nbytes()
        self.saved.clear()

    # --- operations ----------------------------------------------------------------

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        quick = func in ALIKE and not kwargs and _alike(*args[:2])
        out = torch.empty_like(args[0]) if quick else func(*args, **kwargs)
        given = [x for x in flat([*args, *kwargs.values()]) if isinstance(x, Tensor)]
        made = [x for x in flat(out if isinstance(out, tuple | list) else [out]) if isinstance(x, Tensor)]
        for x in made:
            dense(x)
        node = torch._C._current_autograd_node()
        if node is None or len(self.where) > 1:  # or a layer runs again while gradients are computed
            path = self.where[-1]
            self._forwards(func, args, kwargs, out, given)
            if any(map(self._depends, given)):
                self._depend([*made, *(given[:1] if func._schema.is_mutable else ())])
        else:
            path = self.places.get(node._sequence_nr(), "")
            self._backwards(func, args, kwargs, out, given, node._sequence_nr())
        self.spent[path].moved += moved_bytes(func, args, given, made)
        return out

    def _forwards(
        self, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any, given: Sequence[Tensor]
    ) -> None:
        number = self._place_nodes()
        if not is_product(func):
            self._require_rule(func)
            return
        macs = _macs(func, args, kwargs, out)
        self.spent[self.where[-1]].forward += macs
        a, b = given[:2] if "convolution" in func.overloadpacket.__name__ else given[-2:]
        self.products[number].append(Product(macs, (self._factor(a), self._factor(b))))

    def _place_nodes(self) -> int:
        """Nodes made since the last operation belong here; the number of the newest is this operation's own.

        An operation in place that keeps what was there has a second node, of a copy.
        """
        newest: int = torch._C._autograd._get_sequence_nr() - 1
        for number in range(self.newest + 1, newest + 1):
            self.places[number] = self.where[-1]
        self.newest = max(self.newest, newest)
        return newest

    def _backwards(
        self,
        func: Any,
        args: Any,
        kwargs: Mapping[str, Any],
        out: Any,
        given: Sequence[Tensor],
        number: int,
    ) -> None:
        spent = self.spent[self.places.get(number, "")]
        if func.overloadpacket is OF_CONVOLUTION:
            _, x, weight, _, *geometry, wanted = args
            macs = convolved([x, weight, None, *geometry]).macs
            for target, needed in zip((x, weight), wanted, strict=False):
                _add(spent, macs * needed, self._depends(target))
        elif is_product(func):
            _add(spent, _macs(func, args, kwargs, out), self._of_input(number, given[-2:]))
        elif func is aten.mul.Tensor and (outer := self._outer(number, given)) is not None:
            _add(spent, outer.macs, self._of_input(number, given))
        else:
            self._require_rule(func)

    def _of_input(self, number: int, operands: Sequence[Tensor]) -> bool:
        """Whether a product of this node is the gradient of something that depends on the network's input."""
        for product in self.products.get(number, ()):
            for factor, other in (product.factors, product.factors[::-1]):
                if any(_is(factor.storage, x) for x in operands):
                    return other.depends
        return not any(map(self._depends, operands))  # a node that keeps something else than its factors

    def _outer(self, number: int, given: Sequence[Tensor]) -> Product | None:
        """The product of a matrix and a vector whose matrix gets its gradient: that of two vectors."""
        for product in self.products.get(number, ()):
            if any(_is(one.storage, x) and x.ndim <= 2 for one in product.factors for x in given):
                return product
        return None

    def _require_rule(self, func: Any) -> None:
        name = func.overloadpacket.__name__
        base = name.removesuffix("_backward").removesuffix("_backward_data")
        if not (func.is_view or has_rule(func) or (base != name and base in WITHOUT_PRODUCTS.split())):
            self.without_rule[name] = None

    # --- what depends on the input ---------------------------------------------------

    def _depend(self, tensors: Iterable[Tensor]) -> None:
        for x in tensors:
            if _key(x) not in self.state:
                self.dependent[_key(x)] = ref(x.untyped_storage())

    def _depends(self, x: Tensor) -> bool:
        found = self.dependent.get(_key(x))
        return found is not None and found() is not None

    def _factor(self, x: Tensor) -> Factor:
        return Factor(ref(x.untyped_storage()), self._depends(x))


def _macs(func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> int:
    done = work(func, args, kwargs, out)
    assert done is not None, "products have rules"
    return done.macs


def _add(spent: Spent, macs: int, of_input: bool) -> None:
    if of_input:
        spent.inputs += macs
    else:
        spent.weights += macs


def _alike(a: Any, b: Any) -> bool:
    if not (isinstance(a, Tensor) and isinstance(b, Tensor) and a.is_meta and b.is_meta):
        return False
    return a.shape == b.shape and a.dtype == b.dtype and a.is_contiguous()


def _key(x: Tensor) -> int:
    key: int = x.untyped_storage()._cdata
    return key


def _is(storage: ref[Any], x: Tensor) -> bool:
    found = storage()
    return found is not None and found._cdata == _key(x)
