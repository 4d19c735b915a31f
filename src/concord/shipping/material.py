"""The data of a search: read once, looked at, and refused where they are too few."""

import time
from dataclasses import dataclass

from concord.data.load import load_data
from concord.data.splits import Splits
from concord.errors import DataError, amount
from concord.runs.classes_only import classes_only
from concord.runs.config_data import Data
from concord.runs.interface import Interface
from concord.runs.watching import Stop, reading
from concord.training.observer import SILENT

LEAST_VALID = 30  # images: of fewer an error of 10 % has a 95 % interval wider than 20 points


@dataclass(frozen=True, eq=False)
class Material:
    """The parts of the data, what goes into a network and comes out, and the seconds that reading took."""

    data: Data
    splits: Splits
    interface: Interface
    seconds: float

    @property
    def images(self) -> int:
        return len(self.splits.train)

    @property
    def notices(self) -> tuple[str, ...]:
        """What to know of the data, among it that a test part was cut off where there was none."""
        splits = self.splits
        cut = (
            f"the data have no test part: {amount(len(splits.test), 'image')} were cut off as one"
            f" ({100 * self.data.shares[1]:g} %), stratified by class"
        )
        return splits.notices if splits.own_test else (*splits.notices, cut)


def read(data: Data, stop: Stop) -> Material:
    """The data; DataError if there are too few images to validate on."""
    began = time.perf_counter()
    with classes_only(data.source):
        splits = load_data(**data.of_pictures(), watch=reading(SILENT, stop))
    valid = len(splits.valid)
    if valid < LEAST_VALID:
        raise DataError(
            f"{data.source}: the validation part has {amount(valid, 'image')}, and networks are chosen on at"
            f" least {LEAST_VALID}: add images, or cut off a larger share for validation"
            f" (it is {data.shares[0]:g} now)"
        )
    return Material(data, splits, Interface.of(splits), time.perf_counter() - began)
