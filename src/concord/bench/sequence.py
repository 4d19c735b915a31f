"""A peephole LSTM over sequences, forward and backward: concord's, a plain loop, torch.nn.LSTM."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from concord.layers.recurrent.lstm import LSTM
from concord.layers.recurrent.recurrent import Recurrent

CASES: Mapping[str, tuple[int, int, int]] = {"H128": (64, 100, 128), "H10": (32, 200, 10)}  # B, T, H = D


def bench_sequence(rounds: int = 15) -> dict[str, Any]:
    """Milliseconds of processor time on one thread: the best of ``rounds``, the engines in turns.

    torch.nn.LSTM lacks peepholes, so it does a little less.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = [row for case in CASES for row in _measured(case, rounds)]
    finally:
        torch.set_num_threads(threads)
    return {"torch": torch.__version__, "threads": 1, "rounds": rounds, "rows": rows}


def _measured(case: str, rounds: int) -> list[dict[str, Any]]:
    batch, steps, units = CASES[case]
    torch.manual_seed(0)
    x = torch.randn(batch, steps, units)
    cell = LSTM(units, units, peephole="diagonal")
    layer = Recurrent(lambda *_: cell, units, units)
    theirs = nn.LSTM(units, units, batch_first=True)
    engines: dict[str, Callable[[], Tensor]] = {
        "concord": lambda: layer(x)[0],
        "naive": lambda: plain_loop(cell, x),
        "torch": lambda: theirs(x)[0],
    }
    best = dict.fromkeys(engines, float("inf"))
    for _ in range(rounds + 1):
        for name, forward in engines.items():
            start = time.process_time()
            forward().sum().backward()
            best[name] = min(best[name], time.process_time() - start)
    return [{"case": case, "engine": name, "milliseconds": 1000 * seconds} for name, seconds in best.items()]


def plain_loop(cell: LSTM, x: Tensor) -> Tensor:
    """The same cell as it is mostly written: [x, h] and one product for each gate at every step.

    Shape: (B, T, D) -> (B, T, H)
    """
    assert cell.bias is not None
    assert cell.peephole_before is not None
    assert cell.peephole_after is not None
    weights = torch.cat([cell.weight_x, cell.weight_h], 1).chunk(4)
    biases = cell.bias.chunk(4)
    (p_i, p_f), p_o = cell.peephole_before.chunk(2), cell.peephole_after
    h = c = x.new_zeros(len(x), cell.hidden)
    outputs = []
    for t in range(x.shape[1]):
        z = torch.cat([x[:, t], h], 1)  # (B, D + H)
        z_i, z_f, z_g, z_o = (z @ w.t() + b for w, b in zip(weights, biases, strict=True))
        i, f = torch.sigmoid(z_i + p_i * c), torch.sigmoid(z_f + p_f * c)
        c = f * c + i * torch.tanh(z_g)
        o = torch.sigmoid(z_o + p_o * c)
        h = o * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs, 1)
