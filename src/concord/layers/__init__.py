"""What torch.nn lacks. One file per family of layers."""

from concord.layers.packed.network import pack as pack
