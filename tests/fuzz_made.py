"""Random networks of layers that move over 1 to 3 axes, and what the gradient of their units reaches."""

import torch
import torch.nn.functional as F
from torch import nn

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
EXTENTS = {1: (4, 60), 2: (4, 20), 3: (3, 9)}
PADDINGS = ["Reflection", "Replication", "Circular"]


class Applied(nn.Module):
    """A function of the input; its text names it in what a failed test prints."""

    def __init__(self, text, function):
        super().__init__()
        self.text, self.function = text, function

    def forward(self, x):
        return self.function(x)

    def extra_repr(self):
        return self.text


class Joined(nn.Module):
    """Two branches, the second resized or cut to the length of the first, added or concatenated."""

    def __init__(self, one, other, how, mode):
        super().__init__()
        self.one, self.other, self.how, self.mode = one, other, how, mode

    def forward(self, x):
        a, b = self.one(x), self.other(x)
        if self.mode == "cut":
            for axis in range(2, x.ndim):
                size = min(a.shape[axis], b.shape[axis])
                a, b = a.narrow(axis, 0, size), b.narrow(axis, b.shape[axis] - size, size)
        else:
            b = F.interpolate(b, size=a.shape[2:], mode=self.mode)
        return a + b if self.how == "sum" else torch.cat([a, b], 1).sum(1, keepdim=True)

    def extra_repr(self):
        return f"{self.how}, {self.mode}"


def kind(name, n):
    return getattr(nn, f"{name}{n}d")


def drawn_convolution(rng, n):
    k, s, d = rng.randint(1, 5), rng.randint(1, 5), rng.randint(1, 3)
    if rng.random() < 0.2:
        return kind("Conv", n)(1, 1, k, padding="same", dilation=d)
    mode = rng.choice(["zeros", "zeros", "zeros", "reflect", "replicate", "circular"])
    return kind("Conv", n)(1, 1, k, s, rng.choice([0, 0, k // 2, rng.randint(0, 3)]), d, padding_mode=mode)


def drawn_transposed(rng, n):
    k, s, d = rng.randint(1, 4), rng.randint(1, 4), rng.randint(1, 3)
    extra = rng.randrange(max(s, d))
    return kind("ConvTranspose", n)(1, 1, k, s, rng.randint(0, k // 2), extra, dilation=d)


def drawn_pool(rng, n):
    k = rng.randint(1, 5)
    s, p, up = rng.randint(1, 5), rng.randint(0, k // 2), rng.random() < 0.6
    if rng.random() < 0.5:
        return kind("AvgPool", n)(k, s, p, ceil_mode=up)
    return kind("MaxPool", n)(k, s, p, dilation=rng.randint(1, 3), ceil_mode=up)


def drawn_adaptive(rng, n):
    return kind(rng.choice(["AdaptiveAvgPool", "AdaptiveMaxPool"]), n)(rng.randint(2, 12 if n < 3 else 5))


def drawn_resizing(rng, n):
    options = {"mode": rng.choice(["nearest", "nearest-exact", "area", LINEAR[n], LINEAR[n], "bicubic"])}
    if options["mode"] == "bicubic" and n != 2:
        options["mode"] = LINEAR[n]
    if options["mode"] in (LINEAR[n], "bicubic"):
        options["align_corners"] = rng.random() < 0.5
        if n == 2 and not options["align_corners"]:
            options["antialias"] = rng.random() < 0.3
    if rng.random() < 0.5:
        options["scale_factor"] = rng.choice([0.5, 0.6, 0.75, 1.3, 1.5, 2, 2, 3])
    else:
        options["size"] = rng.randint(2, {1: 50, 2: 20, 3: 9}[n])
    return Applied(f"resized, {options}", lambda x: F.interpolate(x, **options))


def drawn_padding(rng, n):
    if rng.random() < 0.5:
        return kind("ConstantPad", n)(tuple(rng.randint(-1, 3) for _ in range(2 * n)), 0.0)
    return kind(f"{rng.choice(PADDINGS)}Pad", n)(tuple(rng.randint(0, 3) for _ in range(2 * n)))


def drawn_slice(rng, n):
    start, step = rng.randint(0, 2), rng.randint(1, 3)
    return Applied(f"[{start}::{step}]", lambda x: x[(..., *(slice(start, None, step),) * n)])


def shifted(x):
    y = x.new_zeros(x.shape)
    y[..., 1:] = x[..., :-1]
    return y


def wrapped(x):
    y = x.new_empty(x.shape)
    y[..., 1:], y[..., :1] = x[..., :-1], x[..., -1:]
    return y


def ended(x):
    y = x.clone()
    y[..., :1] = x[..., -1:]
    return y


def mixed_behind_a_view(x):
    y = x.clone()
    view = y[..., :]
    y += x.flip(-1)
    return view


def halved(x):
    y = x.clone()
    y[..., 1:].mul_(0.5)
    return y


def drawn_written(rng, n):
    """Maps of which a part is written over."""
    function = rng.choice([shifted, wrapped, ended, mixed_behind_a_view, halved, halved, halved])
    return Applied(function.__name__, function)


LAYERS = [
    *[drawn_convolution] * 3,
    drawn_transposed,
    *[drawn_pool] * 2,
    drawn_adaptive,
    *[drawn_resizing] * 2,
    drawn_padding,
    drawn_slice,
    drawn_written,
]


def drawn_chain(rng, n, most):
    layers = [rng.choice(LAYERS)(rng, n) for _ in range(rng.randint(1, most))]
    if rng.random() < 0.2:
        layers.insert(rng.randrange(len(layers) + 1), kind("BatchNorm", n)(1))
    return layers


def drawn_network(rng):
    """A network over (1, ...) in evaluation and in 64 bits, and the shape of a sample."""
    n = rng.choice([1, 1, 1, 2, 2, 3])
    layers = drawn_chain(rng, n, 4)
    if rng.random() < 0.35:
        one, other = (nn.Sequential(*drawn_chain(rng, n, 2)) for _ in range(2))
        how, mode = rng.choice(["sum", "concatenation"]), rng.choice(["cut", "nearest", LINEAR[n]])
        layers.insert(rng.randrange(len(layers) + 1), Joined(one, other, how, mode))
    network = nn.Sequential(*layers).double().eval()
    return network, (1, *(rng.randint(*EXTENTS[n]) for _ in range(n)))


def spread(module, x, out):
    """In place of a layer: each unit with the same taps, but weights that are positive and all different.

    So no two paths cancel, and a maximum shows all that it chooses from.
    """
    y = (
        _average(module, x, out.shape[2:])
        if type(module).__name__.startswith(("MaxPool", "AdaptiveMaxPool"))
        else out
    )
    return y * torch.rand_like(y[:1]).add(0.5)


def _average(pool, x, sizes):
    n = len(sizes)
    if type(pool).__name__.startswith("Adaptive"):
        return kind("AdaptiveAvgPool", n)(pool.output_size)(x)
    reach = pool.kernel_size * pool.dilation
    y = F.pad(x, (pool.padding, pool.padding + reach + pool.stride) * n)
    kernel = torch.rand(1, 1, *[pool.kernel_size] * n, dtype=x.dtype) + 0.1
    y = getattr(F, f"conv{n}d")(y, kernel, None, pool.stride, 0, pool.dilation)
    return y[(..., *(slice(size) for size in sizes))]


def largest_fields(network, shape, axes):
    """For each axis the largest part of it, in positions, that the gradient of one unit reaches.

    Each sample of a batch asks for another unit.
    """
    for parameter in network.parameters():
        parameter.data = torch.rand_like(parameter) + 0.1
    hooks = [
        m.register_forward_hook(lambda m, args, out: spread(m, args[0], out))
        for m in network.modules()
        if not isinstance(m, nn.Sequential)
    ]
    found = []
    with torch.no_grad():
        units = network(torch.rand(1, *shape, dtype=torch.float64)).shape
    for axis in axes:
        x = torch.rand(units[axis], *shape, dtype=torch.float64).add(0.5).requires_grad_()
        y = network(x).movedim(axis, 1).flatten(2).sum(2)
        (gradient,) = torch.autograd.grad(y.diagonal().sum(), x, allow_unused=True, materialize_grads=True)
        reached = gradient.abs().movedim(axis, 1).flatten(2).amax(2)
        places = [row.nonzero()[:, 0].tolist() for row in reached > 1e-10 * reached.max()]
        found.append(max([p[-1] - p[0] + 1 for p in places if p], default=0))
    for hook in hooks:
        hook.remove()
    return found
