"""Pictures and feature maps as flat rows.

A map of height H, width W and C channels is a list of H rows, each a flat list of W * C numbers: the C values
of a position stand together. So the pixels under a filter are one slice of each row, and what the source does
with nested loops over [row][column][channel] becomes work on slices.
"""

from collections.abc import Sequence

Map = list[list[float]]  # H rows of W * C numbers


def output_size(size: int, window: int, stride: int, padding: int = 0) -> int:
    """H_out = floor(1 + (H + 2 pad - HH) / stride), the formula of the USTH CNN, for one side.

    Raises ValueError when the window does not fit once.
    """
    if size + 2 * padding < window:
        around = f" with {padding} zeros on both sides" if padding else ""
        raise ValueError(
            f"a window of {window} does not fit into {size}{around};"
            " a larger input or a smaller window is needed"
        )
    return 1 + (size + 2 * padding - window) // stride


def padded(image: Map, padding: int, channels: int) -> Map:
    """The map with ``padding`` rows and columns of zeros around it.

    Shape: (H, W, C) -> (H + 2p, W + 2p, C)
    """
    if not padding:
        return image
    side = [0.0] * (padding * channels)
    blank = [0.0] * (len(image[0]) + 2 * len(side))
    return [blank] * padding + [side + row + side for row in image] + [blank] * padding


def cropped(image: Map, padding: int, channels: int) -> Map:
    """Without the outer ``padding`` rows and columns: what ``padded`` has put around."""
    if not padding:
        return image
    side = padding * channels
    return [row[side:-side] for row in image[padding:-padding]]


def flat(image: Map) -> list[float]:
    """All numbers in reading order. Shape: (H, W, C) -> (H * W * C,)"""
    return [number for row in image for number in row]


def rows(numbers: Sequence[float], width: int) -> Map:
    """The inverse of ``flat`` for rows of ``width`` numbers. Shape: (H * W * C,) -> (H, W, C)"""
    return [list(numbers[start : start + width]) for start in range(0, len(numbers), width)]


def check(image: Map, shape: tuple[int, int, int]) -> None:
    """ValueError unless the map has that height, width and number of channels."""
    height, width, channels = shape
    widths = {len(row) for row in image}
    if len(image) != height or widths != {width * channels}:
        found = f"{len(image)} rows of {' or '.join(map(str, sorted(widths))) or 'no'} numbers"
        raise ValueError(
            f"expected {height} rows of {width} * {channels} = {width * channels} numbers, got {found}"
        )
