"""Names of samples, made when they are asked for: 60,000 strings are never stored."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray


class Names(Sequence[str]):
    """Names of samples, made when they are asked for."""

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        numbers = range(len(self))[i]
        return self.name(numbers) if isinstance(numbers, int) else [self.name(j) for j in numbers]

    def name(self, i: int) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Numbered(Names):
    """``file[0]``, ``file[1]``, ... for the samples of one file."""

    file: str
    length: int

    def __len__(self) -> int:
        return self.length

    def name(self, i: int) -> str:
        return f"{self.file}[{i}]"


@dataclass(frozen=True, eq=False)
class Chosen(Names):
    """Some of other names, in the order of ``numbers`` (N,)."""

    names: Sequence[str]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    def name(self, i: int) -> str:
        return self.names[int(self.numbers[i])]


@dataclass(frozen=True, eq=False)
class Chained(Names):
    """The names of ``first``, then those of ``second``."""

    first: Sequence[str]
    second: Sequence[str]

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def name(self, i: int) -> str:
        return self.first[i] if i < len(self.first) else self.second[i - len(self.first)]


@dataclass(frozen=True, eq=False)
class Packed(Names):
    """Any names, one after the other in one piece of memory: a million file names take some 30 MB."""

    text: bytes
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, names: Iterable[str]) -> "Packed":
        encoded = [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        return cls(b"".join(encoded), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def name(self, i: int) -> str:
        start = int(self.ends[i - 1]) if i else 0
        return self.text[start : int(self.ends[i])].decode("utf-8", "surrogateescape")
