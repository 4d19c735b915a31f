"""Classifiers of torchvision and timm, fitted to other numbers of channels and classes.

Networks without auxiliary heads, so that every one maps (B, C, H, W) to logits (B, K). The first convolution
for C channels comes from the one for 3 channels by timm's rule:
  * C = 1: the sum over the three channels, so a grey picture gives what its three-channel copy gave;
  * other C: the channels again and again, times 3 / C, which keeps the size of the response.
Untrained and pretrained networks follow the same rule, so the start keeps its scale.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
import torchvision
from torch import Tensor, nn

from concord.errors import UsageError, suggestion

if TYPE_CHECKING:
    from types import ModuleType

SILENCE = 30.0  # seconds without a byte after which a download is given up
ANSWER = 5.0  # seconds in which a server answers that can be reached
FROM_FILE = 'without a network, name a file of weights: pretrained = "weights.safetensors"'
WITH_AUXILIARY_HEADS = ("googlenet", "inception_v3")


@cache
def torchvision_names() -> tuple[str, ...]:
    """torchvision's classifiers of single images."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def from_torchvision(name: str, channels: int, classes: int, *, pretrained: bool) -> nn.Module:
    """torchvision's network, with its DEFAULT weights if ``pretrained``; only the head is new then."""
    if pretrained:
        network = _with_weights(name)
        if classes != 1000:
            _replace_head(network, classes)
    else:
        options = {"aux_logits": False, "init_weights": True} if name in WITH_AUXILIARY_HEADS else {}
        network = torchvision.models.get_model(name, weights=None, num_classes=classes, **options)
    if channels != 3:
        _replace_stem(network, channels)
    return network


def _with_weights(name: str) -> nn.Module:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)  # a server that says nothing is waited for without end otherwise
    try:
        network: nn.Module = torchvision.models.get_model(name, weights="DEFAULT")
    except (OSError, RuntimeError, KeyError) as error:
        raise UsageError(f"cannot get the pretrained weights of {name!r}: {error}; {FROM_FILE}") from error
    finally:
        socket.setdefaulttimeout(before)
    if name == "inception_v3":  # googlenet drops its own
        network.aux_logits = False  # type: ignore[assignment]
        network.AuxLogits = None  # type: ignore[assignment]
    return network


def as_pretrained(network: nn.Module, channels: int) -> None:
    """What comes with pretrained weights besides numbers, for a network that gets its numbers elsewhere.

    GoogLeNet and Inception of torchvision rescale red, green and blue themselves then.
    """
    if hasattr(network, "transform_input"):
        network.transform_input = channels == 3  # type: ignore[assignment]


def _replace_stem(network: nn.Module, channels: int) -> None:
    """The first convolution for another number of channels."""
    path, old = next((path, m) for path, m in network.named_modules() if isinstance(m, nn.Conv2d))
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    new.weight = nn.Parameter(fit_kernel(old.weight.detach(), channels))
    new.bias = old.bias
    network.set_submodule(path, new)
    if hasattr(network, "transform_input"):
        # It would rescale red, green and blue one by one.
        network.transform_input = False  # type: ignore[assignment]


def fit_kernel(kernel: Tensor, channels: int) -> Tensor:
    """The kernel for another number of channels, by timm's rule. Shape: (N, 3, h, w) -> (N, C, h, w)"""
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    given = kernel.shape[1]
    again = torch.arange(channels, device=kernel.device) % given
    return kernel[:, again] * (given / channels)


def usual_input(name: str) -> tuple[int, int, int]:
    """(C, H, W) of the pictures that a library's network was made for; 3x224x224 where nothing is known."""
    short = name.rpartition("/")[2]
    if short == "inception_v3" and not name.startswith("timm/"):
        return 3, 299, 299
    if short not in torchvision_names() and in_timm(short):
        from timm.models import get_pretrained_cfg

        known = get_pretrained_cfg(short)
        channels, height, width = known.input_size if known else (3, 224, 224)
        return channels, height, width
    return 3, 224, 224


def _replace_head(network: nn.Module, classes: int) -> None:
    """A new last layer for another number of classes; ImageNet's has 1000."""
    for path, old in reversed(list(network.named_modules())):
        if isinstance(old, nn.Linear) and old.out_features == 1000:
            network.set_submodule(path, nn.Linear(old.in_features, classes))
            return
        if isinstance(old, nn.Conv2d) and old.out_channels == 1000:  # SqueezeNet
            network.set_submodule(path, nn.Conv2d(old.in_channels, classes, 1))
            return
    raise AssertionError("every classifier of torchvision ends in 1000 numbers")


@cache
def _timm() -> "ModuleType | None":
    try:
        import timm
    except ImportError:
        return None
    return timm


def timm_names() -> tuple[str, ...]:
    """timm's networks, or nothing where timm is not installed."""
    timm = _timm()
    return tuple(timm.list_models()) if timm else ()


def in_timm(name: str) -> bool:
    """Whether timm is installed and has that network; a name may carry a weight tag, ``resnet18.a1_in1k``."""
    timm = _timm()
    return timm is not None and bool(timm.is_model(name))


def timm_with(name: str) -> "ModuleType":
    """timm; UsageError if it is not installed or has no network of that name."""
    timm = _timm()
    if timm is None:
        raise UsageError(f"'timm/{name}' needs timm: pip install timm")
    if not timm.is_model(name):
        raise UsageError(f"timm has no network {name!r}{suggestion(name, timm.list_models())}")
    return timm


def from_timm(name: str, channels: int, classes: int, *, pretrained: bool) -> nn.Module:
    """timm's network through its own ``create_model``."""
    timm = timm_with(name)
    fetched = _hub_as_it_is() if pretrained else nullcontext(True)
    with fetched as reachable:
        try:
            network: nn.Module = timm.create_model(
                name, pretrained=pretrained, num_classes=classes, in_chans=channels
            )
        except Exception as error:  # each network has its own limits, and a download may fail in many ways
            if not reachable:
                raise UsageError(
                    f"cannot get the pretrained weights of {name!r}: huggingface.co cannot be reached;"
                    f" {FROM_FILE}"
                ) from error
            raise UsageError(
                f"timm cannot build {name!r} for {channels} channels and {classes} classes: {error}"
            ) from error
    return network


@contextmanager
def _hub_as_it_is() -> Iterator[bool]:
    """Whether the server of timm's weights can be reached; if not, they come from its cache or not at all.

    Its own client would try again and again, for more than a minute.
    """
    from huggingface_hub import constants

    reachable, before = _reachable(constants.ENDPOINT), constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not reachable
    try:
        yield reachable and not before
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(address: str) -> bool:
    """Whether a server answers, whatever it answers."""
    try:
        with urlopen(Request(address, method="HEAD"), timeout=ANSWER):
            return True
    except HTTPError:
        return True
    except (OSError, HTTPException, ValueError):
        return False
