"""Whether bfloat16 can be trusted for a network on this processor.

Measured with torch 2.15 on a processor with AVX-512 bfloat16: oneDNN can leave the weight gradient of a
convolution uninitialised where a tap of the kernel meets only padding, as with 3x3 kernels and stride 2 on
maps of 1x1. Of a convolution with groups and dilation it computes a wrong one, or ends the process, in
channels_last on maps of 32x32 (16x16 were right). Such gradients are garbage, sometimes not a number; those
of float32 are right.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from concord.runs.config import Config
from concord.training.devices import home_of
from concord.training.evaluate import evaluating

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@contextmanager
def whole_float32() -> Iterator[None]:
    """Convolutions on a GPU compute in float32, not in TF32, which torch takes for them by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def native_bfloat16(device: str) -> bool:
    """Whether the hardware multiplies bfloat16 natively; emulated, it is slower than float32."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported())


def idle_taps(size: int, kernel: int, stride: int, padding: int, dilation: int) -> bool:
    """Whether some tap of a one-dimensional kernel sees nothing but padding at every place.

    Tap t sees position o stride - padding + t dilation for o = 0, 1, ..., out - 1.
    """
    out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    seen = [any(0 <= o * stride - padding + t * dilation < size for o in range(out)) for t in range(kernel)]
    return not all(seen)


def untrusted(network: nn.Module, shape: tuple[int, int, int]) -> str | None:
    """The first convolution whose bfloat16 gradient may be garbage on a CPU, for inputs (C, H, W)."""
    found: list[str] = []

    def look(name: str) -> object:
        def hook(layer: nn.Conv2d, inputs: tuple[Tensor, ...]) -> None:
            if layer.groups > 1 and max(layer.dilation) > 1:
                found.append(name)
            same = layer.padding == "same"
            for axis in (0, 1):
                k, d = layer.weight.shape[2 + axis], layer.dilation[axis]
                p = d * (k - 1) // 2 if same else 0 if layer.padding == "valid" else int(layer.padding[axis])
                if idle_taps(inputs[0].shape[2 + axis], k, layer.stride[axis], p, d):
                    found.append(name)

        return hook

    hooks = [
        layer.register_forward_pre_hook(look(name))  # type: ignore[arg-type]
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    x = torch.zeros(2, *shape)
    try:
        with (
            torch.no_grad(),
            torch.random.fork_rng(devices=[]),
            evaluating({"": network}),
            suppress(Exception),
        ):
            network(x.to(home_of(network, x)))
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def precisions(
    config: Config, members: Mapping[str, nn.Module], shape: tuple[int, int, int]
) -> dict[str, torch.dtype]:
    """What each member computes in: as configured, but float32 where a CPU's bfloat16 would break it.

    It depends on the member alone, not on who trains beside it.
    """
    wanted = PRECISIONS[config.train.precision]
    return {name: _precision(net, shape, wanted) for name, net in members.items()}


def _precision(network: nn.Module, shape: tuple[int, int, int], wanted: torch.dtype) -> torch.dtype:
    on_cpu = home_of(network, torch.zeros(())).type == "cpu"
    breaks = wanted == torch.bfloat16 and on_cpu and untrusted(network, shape)
    return torch.float32 if breaks else wanted
