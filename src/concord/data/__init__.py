"""Files -> samples -> splits -> batches. Nothing here trains, and nothing here unpickles.

    from concord.data.load import load              # digits, IDX, CIFAR-10, class folders, NPZ -> Splits
    from concord.data.batches import Normalise, shuffled, in_order
    from concord.data.images.augment import Augment
    from concord.data.images.check import check     # what is wrong with a data set, all of it
    from concord.data.images.decode import expand, open_image
    from concord.data.images.get import get         # torchvision's sources, for users with a network

Each kind of data has a folder. Names are imported from their modules: several modules carry the name of
their one function.
"""
