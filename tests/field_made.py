"""Networks composed of the rules of receptive fields, for their tests."""

from concord.cost.field_rules import padded, transposed, window
from concord.cost.hull import hull


def length(n, kernel, stride=1, padding=0, dilation=1):
    return (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def chain(field, *layers):
    """Windows one after another, each (kernel, stride, padding, dilation) or the beginning of it."""
    for layer in layers:
        field = window(field, *layer, units=length(field.units, *layer))
    return field


def regions(field):
    return [field.region(i) for i in range(field.units)]


def unet(field, depth, padding):
    """Two 3x3 convolutions per level, 2x2 max-pooling, 2x2 up-convolution, crop and concatenate."""
    field = chain(field, (3, 1, padding), (3, 1, padding))
    if depth:
        up = unet(chain(field, (2, 2)), depth - 1, padding)
        up = transposed(up, 2, 2, units=2 * up.units)
        skip = padded(field, -((field.units - up.units) // 2), units=up.units)
        field = chain(hull([skip, up]), (3, 1, padding), (3, 1, padding))
    return field
