"""Float layers at the edges of a binary network, joined: the first convolution, halving shortcuts."""

from torch import Tensor, nn

from concord.layers.packed.frozen import Frozen
from concord.layers.packed.thresholds import BatchNorm, affine
from concord.native import float_ops, floats
from concord.native.checks import refuse_gradient


class _Joined(Frozen):
    """Weights, and the factor and shift that bias and normalisation after them amount to."""

    weight: Tensor
    arranged: Tensor
    factor: Tensor
    shift: Tensor

    def __init__(self, conv: nn.Conv2d, norm: BatchNorm | None, relu: bool) -> None:
        super().__init__()
        weight = conv.weight.detach().clone()
        factor, shift = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        if norm is not None:
            factor, shift = affine(norm)
        if conv.bias is not None:
            shift = shift + conv.bias.detach() * factor
        self.relu = relu
        self.register_buffer("weight", weight)
        self.register_buffer("factor", factor)
        self.register_buffer("shift", shift)
        self.register_buffer("arranged", floats.arranged(weight), persistent=False)
        self.register_load_state_dict_post_hook(_Joined._arrange)
        self.training = False

    @staticmethod
    def _arrange(joined: nn.Module, _: object) -> None:
        assert isinstance(joined, _Joined)
        joined.arrange()

    def arrange(self) -> None:
        """Again, of other weights."""
        self.arranged = floats.arranged(self.weight)


class FloatFirst(_Joined):
    """Convolution, normalisation, ReLU and maximum pooling, as far as they are there.

    Shape: (B, C, H, W) -> (B, O, H', W')
    """

    transformed: Tensor

    def __init__(
        self, conv: nn.Conv2d, norm: BatchNorm | None, relu: bool, pool: tuple[int, int, int]
    ) -> None:
        super().__init__(conv, norm, relu)
        self.stride, self.padding, self.pool = [*conv.stride], [*map(int, conv.padding)], [*pool]
        self.register_buffer("transformed", self._transformed(), persistent=False)

    def _transformed(self) -> Tensor:
        return floats.transformed(self.weight, (self.stride[0], self.stride[1]))

    def arrange(self) -> None:
        super().arrange()
        self.transformed = self._transformed()

    def forward(self, x: Tensor) -> Tensor:
        refuse_gradient(x)
        own = (self.weight, self.arranged, self.transformed, self.factor, self.shift, self.relu)
        return float_ops.float_first(x, *own, self.stride, self.padding, self.pool)


class FloatHalving(_Joined):
    """Average pooling, 1x1 convolution, normalisation. Shape: (B, C, H, W) -> (B, O, H / side, W / side)"""

    def __init__(self, conv: nn.Conv2d, norm: BatchNorm | None, side: int, ceil_mode: bool) -> None:
        super().__init__(conv, norm, relu=False)
        self.side, self.ceil_mode = side, ceil_mode

    def forward(self, x: Tensor) -> Tensor:
        refuse_gradient(x)
        own = (self.weight, self.arranged, self.factor, self.shift, self.relu)
        return float_ops.float_halving(x, *own, self.side, self.ceil_mode)
