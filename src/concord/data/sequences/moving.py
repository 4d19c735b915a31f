"""Films of digits that move and bounce: Moving MNIST.

Source: N. Srivastava, E. Mansimov, R. Salakhutdinov, "Unsupervised learning of video representations using
LSTMs", ICML 2015, section 3.1 and the authors' generator; X. Shi et al., NeurIPS 2015, section 4.1 (speeds of
3 to 5 pixels per frame). Place and direction are uniform, and where digits overlap the brighter one is seen.

Departure: a digit that meets a border is reflected, so that its speed never changes and its place at any
frame has a closed form. The generator leaves it at the border for the rest of that frame.
"""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concord.data import draws
from concord.data.dataset import Draw, Spec
from concord.errors import UsageError


@dataclass(frozen=True, eq=False)
class MovingDigits:
    """``count`` films, of which ``shown`` frames are the input and the next ``ahead`` frames the target.

    Film i is a function of the digits, the settings, ``seed`` and i; none is stored. Films for the test take
    their digits from the test pictures.

    >>> train = MovingDigits(splits.train.pixels[:, 0], 10_000)

    Raises UsageError for digits of another shape, and for settings out of range.
    """

    digits: Tensor  # (N, h, w) uint8
    count: int
    seed: int = 0
    objects: int = 2
    side: int = 64
    shown: int = 10
    ahead: int = 10
    speeds: tuple[float, float] = (3.0, 5.0)  # pixels per frame

    def __post_init__(self) -> None:
        if self.digits.ndim != 3 or not self.digits.numel() or self.digits.dtype != torch.uint8:
            given = f"{self.digits.dtype} {tuple(self.digits.shape)}"
            raise UsageError(f"digits are pictures (N, h, w) of uint8, got {given}")
        if max(self.digits.shape[1:]) >= self.side:
            given = "x".join(map(str, self.digits.shape[1:]))
            raise UsageError(f"digits of {given} cannot move in frames of {self.side}x{self.side}")
        if min(self.count, self.objects, self.shown, self.ahead) < 1:
            given = f"{self.count}, {self.objects}, {self.shown} and {self.ahead}"
            raise UsageError(f"films, objects and frames are at least 1, got {given}")
        if not 0 <= self.speeds[0] <= self.speeds[1] < float("inf"):
            raise UsageError(f"speeds are a range from 0 of finite numbers, got {self.speeds}")

    @property
    def spec(self) -> Spec:
        return Spec("film", (self.shown, 1, self.side, self.side), torch.float32)

    @property
    def fingerprint(self) -> str:
        settings = (self.count, self.seed, self.objects, self.side, self.shown, self.ahead, self.speeds)
        digest = sha256(f"moving {settings} {tuple(self.digits.shape)}".encode())
        digest.update(self.digits.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return self.count

    def batch(self, index: Tensor, draw: Draw | None) -> tuple[Tensor, Tensor]:
        """Values from 0 to 1. Shape: (B,) -> (B, shown, 1, S, S), (B, ahead, 1, S, S)"""
        films = self._films(index.numpy()).unsqueeze(2).float() / 255
        return films[:, : self.shown], films[:, self.shown :]

    def name(self, i: int) -> str:
        return f"film {i}"

    def path(self, films: NDArray[np.integer], k: int) -> NDArray[np.float64]:
        """Top and left side of digit k at every frame, in pixels. Shape: (B,) -> (B, T, 2)"""
        room = self.side - np.array(self.digits.shape[1:], np.float64)  # (2,) of the top left corner
        turn, speed = 2 * np.pi * self._uniform(films, "direction", k), self._uniform(films, "speed", k)
        slowest, fastest = self.speeds
        velocity = (
            np.stack([np.sin(turn), np.cos(turn)], 1) * (slowest + (fastest - slowest) * speed)[:, None]
        )
        start = np.stack([self._uniform(films, side, k) for side in ("top", "left")], 1) * room
        frames = np.arange(self.shown + self.ahead)
        straight = start[:, None] + velocity[:, None] * frames[:, None]  # (B, T, 2)
        return bounced(straight, room)

    def _films(self, films: NDArray[np.integer]) -> Tensor:
        """Shape: (B,) -> (B, T, S, S) uint8"""
        frames = self.shown + self.ahead
        seen = torch.zeros(len(films), frames, self.side, self.side, dtype=torch.uint8)
        height, width = self.digits.shape[1:]
        film, frame = torch.arange(len(films))[:, None, None, None], torch.arange(frames)[:, None, None]
        for k in range(self.objects):
            chosen = self._bits(films, "digit", k) % np.uint64(len(self.digits))
            digit = self.digits[torch.from_numpy(chosen.astype(np.int64))]
            top, left = torch.from_numpy(np.floor(self.path(films, k)).astype(np.int64)).unbind(2)
            rows = top[..., None, None] + torch.arange(height)[:, None]  # (B, T, h, 1)
            columns = left[..., None, None] + torch.arange(width)  # (B, T, 1, w)
            places = (film, frame, rows, columns)
            seen[places] = torch.maximum(seen[places], digit[:, None])
        return seen

    def _uniform(self, films: NDArray[np.integer], what: str, k: int) -> NDArray[np.float64]:
        """A number in [0, 1) of 53 bits for each film. Shape: (B,) -> (B,)"""
        return (self._bits(films, what, k) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def _bits(self, films: NDArray[np.integer], what: str, k: int) -> NDArray[np.uint64]:
        return draws.bits(films, "moving", what, self.seed, k)


def bounced(straight: NDArray[np.float64], room: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where a path without borders lies between borders 0 and ``room`` that reflect it: a triangle wave."""
    return room - np.abs(straight % (2 * room) - room)
