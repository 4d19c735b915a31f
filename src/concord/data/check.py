"""The check of a data set of any kind that ``concord data check`` takes."""

from concord.data.detection import check as boxes
from concord.data.detection.layout import recognised
from concord.data.images import check as images
from concord.data.images.pictures import Watch


def check(source: str, *, watch: Watch | None = None) -> images.Report | boxes.BoxReport:
    """The report on images with boxes where such annotations lie, else on images of classes."""
    if recognised(source):
        return boxes.check(source)
    return images.check(source, watch=watch)
