"""The check at the door of a network for pictures."""

from torch import Tensor

from concord.errors import ShapeError


def require_pictures(x: Tensor, channels: int, smallest: int = 1) -> None:
    """ShapeError unless x is (B, channels, H, W) with both sides at least ``smallest``."""
    if x.ndim != 4 or x.shape[1] != channels:
        raise ShapeError(f"expected (B, {channels}, H, W), got {tuple(x.shape)}")
    if min(x.shape[2:]) < smallest:
        raise ShapeError(f"height and width must be at least {smallest}, got {x.shape[2]}x{x.shape[3]}")
