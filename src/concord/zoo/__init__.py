"""Networks by name: one paper per file, and the door to torchvision's, timm's and a user's own.

Importing this room does not import torch; building a network does.
"""

from concord.zoo.build import build
from concord.zoo.registry import Entry, Row, find, listing, names, register

__all__ = ["Entry", "Row", "build", "find", "listing", "names", "register"]
