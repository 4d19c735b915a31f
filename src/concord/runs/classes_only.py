"""Data of masks or boxes where pictures of classes are needed: whose folders would be taken for classes."""

from collections.abc import Iterator
from contextlib import contextmanager

from concord.data.detection.layout import recognised
from concord.data.segmentation.read import is_segmentation
from concord.errors import DataError, UsageError
from concord.files.text import printable
from concord.runs.vision.settings import DETECT, SEGMENT


@contextmanager
def classes_only(source: str) -> Iterator[None]:
    """Pictures of classes are read within it; UsageError that names the task of masks or boxes.

    Boxes are looked for only where reading fails, since that takes a look at every file.
    """
    if is_segmentation(source):
        raise UsageError(_of_another_task(source, "masks", SEGMENT))
    try:
        yield
    except DataError as error:
        if recognised(source):
            raise UsageError(_of_another_task(source, "boxes", DETECT)) from error
        raise


def _of_another_task(source: str, what: str, task: str) -> str:
    cure = f"`concord train --task {task}` is for them"
    return f"{printable(source)} holds images with {what}, no folders of classes: {cure}"
