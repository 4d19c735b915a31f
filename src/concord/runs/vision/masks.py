"""Runs that find masks: their data and their task."""

from dataclasses import replace

from concord.data.dataset import Dataset
from concord.data.segmentation.border import Border
from concord.data.segmentation.crops import Crops
from concord.data.segmentation.load import Wanted, load
from concord.data.segmentation.samples import Known, Masks
from concord.errors import UsageError
from concord.runs import given
from concord.runs.config import Config
from concord.runs.vision.interface import VisionInterface
from concord.tasks.segment import Segment

SIDE = 256  # of crops where nothing else is asked for


def load_parts(config: Config, known: VisionInterface | None = None) -> given.Parts:
    """The parts of the data; ``known`` is the interface of an earlier training. Raises DataError."""
    data, augment, settings = config.data, config.augment, config.segment
    crops = Crops(
        data.size or SIDE,
        augment.deform or 0.0,
        flip=augment.flip,
        turn=bool(augment.turn),
        brightness=augment.brightness,
    )
    weighted = settings is not None and settings.border > 0
    border = Border(settings.border, settings.sigma, settings.objects) if settings and weighted else None
    wanted = Wanted(
        data.source,
        crops,
        data.valid,
        data.test,
        data.seed,
        data.limit,
        data.classes,
        border,
        data.largest_image,
    )
    found = load(wanted, None if known is None else known_of(known))
    return given.Parts(found.train, found.valid, found.test, found.notices, data.workers or 0)


def known_of(interface: VisionInterface) -> Known:
    """What an earlier training fixed: classes with their values, colours, statistics."""
    assert interface.table is not None  # of every interface of masks
    return Known(interface.table, "L" if interface.channels == 1 else "RGB", interface.normalise)


def interface_of_parts(parts: given.Parts) -> VisionInterface:
    """Grey or coloured pictures of any size, and which values of masks are which class."""
    train = parts.train
    assert isinstance(train, Masks)
    known = train.known
    channels = 1 if known.mode == "L" else 3
    return VisionInterface("segment", channels, known.table.classes, known.normalise, table=known.table)


def task_of(config: Config, interface: VisionInterface) -> Segment:
    """What an output means; V_rand is that of the regions of ``segment.objects``.

    UsageError for objects of an unknown class.
    """
    objects = config.segment.objects if config.segment else None
    if objects is not None and objects not in interface.classes:
        known = ", ".join(interface.classes)
        raise UsageError(f"segment.objects is {objects!r}, the classes are {known}")
    return Segment(len(interface.classes), None if objects is None else interface.classes.index(objects))


def size_of(parts: given.Parts) -> tuple[int, int]:
    """Height and width of a crop to train on."""
    train = parts.train
    assert isinstance(train, Masks)
    assert train.crops is not None
    return train.crops.sides


def uncut(part: Dataset) -> Dataset:
    """Whole pictures in place of crops."""
    return replace(part, crops=None, weighting=None) if isinstance(part, Masks) else part
