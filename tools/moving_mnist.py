"""Which frames come next? A small ConvLSTM on Moving MNIST, a fully connected LSTM, and the last frame.

    python tools/moving_mnist.py --data DATA/mnist --out moving.jsonl --picture strip.png

Source: X. Shi et al., NeurIPS 2015, section 4.1: 10 frames are shown, the next 10 are predicted. Smaller than
the paper: one digit at half its size in frames of 32x32, at half the speed, in place of two in 64x64; small
networks, few updates. No training film is seen twice; films of the test have digits of the test pictures.
Each network is one line of JSON with the nats and the squared error per frame. The picture has one film of
the test: its first frames, its next frames, and what each network predicts. ``--run RUN`` trains both
networks and a last frame with a learned grey as members of one training, in whose report the strips stand.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import concord
from concord.data.images.images import Images
from concord.data.sequences.moving import MovingDigits
from concord.tasks.frames import Frames
from concord.zoo.convlstm import convlstm_256, fc_lstm_2048_2048

SIDE, SPEEDS = 32, (1.5, 2.5)
NETWORKS: Mapping[str, tuple[Callable[[], nn.Module], int]] = {  # updates that take about as long
    "convlstm": (lambda: convlstm_256(width=24), 6000),
    "fc_lstm": (lambda: fc_lstm_2048_2048(width=256, side=SIDE), 4300),
}
BATCH, TEST = 2, 200
GREY = [0.001, 0.003, 0.01, 0.03, 0.05]  # how sure of a pixel the last frame may be


def films_of(images: Images, count: int, seed: int) -> MovingDigits:
    """Films of the digits of these pictures at half their size."""
    halves = nn.functional.avg_pool2d(images.pixels.float(), 2).round().byte()
    return MovingDigits(halves[:, 0], count, seed=seed, objects=1, side=SIDE, speeds=SPEEDS)


def trained(name: str, images: Images, updates: int, seed: int) -> tuple[nn.Module, float]:
    """A network and the processor seconds of its training."""
    torch.manual_seed(seed)
    member = NETWORKS[name][0]()
    ensemble: Any = concord.Ensemble({name: member}, task="frames")
    began = time.process_time()
    ensemble.fit(
        films_of(images, updates * BATCH, seed),
        valid=None,
        epochs=1,
        batch_size=BATCH,
        optimizer=concord.Adam(lr=3e-3, weight_decay=0.0),
        schedule="cosine",
        seed=seed,
    )
    return member, time.process_time() - began


class LastFrame(nn.Module):
    """logit = a + b x_T for all pixels of all frames behind x_T, with learned a and b."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(torch.tensor(start)) for start in (-3.0, 6.0))

    def forward(self, shown: Tensor) -> Tensor:
        return (self.a + self.b * shown[:, -1:]).expand_as(shown)


def train_run(images: Images, films: MovingDigits, updates: int, seed: int, run: Path) -> Path:
    """All of them as members of one training, which compare nothing; gives its report."""
    torch.manual_seed(seed)
    members = {name: make() for name, (make, _) in NETWORKS.items()} | {"last_frame": LastFrame()}
    concord.Ensemble(members, task="frames").fit(
        films_of(images, updates * BATCH, seed),
        valid=None,
        test=films,
        epochs=1,
        batch_size=BATCH,
        optimizer=concord.Adam(lr=3e-3, weight_decay=0.0),
        schedule="cosine",
        seed=seed,
        out=run,
    )
    return concord.write_report(run)


def last_frame(shown: Tensor, grey: float) -> Tensor:
    """The logits of the last frame, as the prediction for all frames behind it."""
    return shown[:, -1:].expand_as(shown).clamp(grey, 1 - grey).logit()


def scores(outputs: Mapping[str, Tensor], truth: Tensor) -> dict[str, dict[str, float]]:
    """Nats and squared error per frame of each output."""
    task = Frames()
    found = task.scores(task.tally(list(outputs.values()), [truth] * len(outputs)), list(outputs))
    return {name: dict(vars(figures)) for name, figures in found.members.items()}


def baselines(films: MovingDigits, tuning: MovingDigits) -> dict[str, Tensor]:
    """The last frame, one grey for all pixels, and the truth itself, whose grey pixels have an entropy.

    The numbers of the first two are chosen on films of training digits.
    """
    x, y = tuning.batch(torch.arange(len(tuning)), None)
    tried = scores({str(grey): last_frame(x, grey) for grey in GREY}, y)
    grey = min(GREY, key=lambda grey: tried[str(grey)]["nll"])
    shown, truth = films.batch(torch.arange(len(films)), None)
    return {
        "truth": truth.clamp(1e-6, 1 - 1e-6).logit(),
        "last_frame": last_frame(shown, grey),
        "constant": torch.full_like(shown, y.mean().logit().item()),
    }


def strip(rows: Sequence[Tensor]) -> Image.Image:
    """Frames side by side, one film below the other. Shape: each (T, 1, H, W) from 0 to 1"""
    gap = 2
    lines = [
        torch.cat([nn.functional.pad(frame[0], (gap, gap, gap, gap), value=0.5) for frame in row], 1)
        for row in rows
    ]
    return Image.fromarray((torch.cat(lines) * 255).round().byte().numpy())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, help="Updates of every network, in place of its own number.")
    parser.add_argument("--out", type=Path, default=Path("moving.jsonl"))
    parser.add_argument("--picture", type=Path, default=Path("moving.png"))
    parser.add_argument("--run", type=Path, help="Run folder for one training of all, in place of the lines.")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    splits = concord.load_data(given.data)
    films = films_of(splits.test, TEST, 1000 + given.seed)
    if given.run:
        print(train_run(splits.train, films, given.updates or 6000, given.seed, given.run))
        return
    shown, truth = films.batch(torch.arange(TEST), None)
    outputs = baselines(films, films_of(splits.train, TEST, 2000 + given.seed))
    spent: dict[str, dict[str, float]] = {name: {} for name in outputs}
    for name, (_, usual) in NETWORKS.items():
        member, seconds = trained(name, splits.train, given.updates or usual, given.seed)
        with torch.no_grad():
            outputs[name] = torch.cat([member(x) for x in shown.split(20)])
        parameters = sum(p.numel() for p in member.parameters())
        updates = given.updates or usual
        spent[name] = {"parameters": parameters, "updates": updates, "processor_seconds": round(seconds)}
    for name, figures in scores(outputs, truth).items():
        line = json.dumps({"network": name, "seed": given.seed, "films": TEST, **spent[name], **figures})
        with given.out.open("a") as file:
            file.write(line + "\n")
        print(line, flush=True)
    drawn = [shown[0], truth[0], *(outputs[name][0].sigmoid() for name in NETWORKS)]
    strip(drawn).save(given.picture, optimize=True)


if __name__ == "__main__":
    main()
