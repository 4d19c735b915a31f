"""Draw docs/results/counting.svg: what counters remember while they read a^1000 b^1000 and a^100 b^100 c^100.

    python tools/counting_figure.py --weights counting --to docs/results/counting.svg

The figure of G. Weiss, Y. Goldberg, E. Yahav (ACL 2018): the cell state of an LSTM and the hidden state of a
GRU against the position. Networks are trained as ``counting.py`` trains them, with seed 0, and kept in the
folder of weights; those that lie there are used as they are.
"""

import argparse
from pathlib import Path

import torch
from counting import Counter, train

from concord.data.sequences.languages import END, counted
from concord.files.atomic import write_text
from concord.layers.recurrent.cell import Cell
from concord.layers.recurrent.slope import with_slope
from concord.report.activations import StatePanel, activation_figure, states_over_time
from concord.report.svg import standalone

ROWS = {  # cell and largest slope -> what its panels are called
    ("lstm", 20.0): "LSTM, hardened: c",
    ("lstm", 1.0): "LSTM: c",
    ("gru_after", 1.0): "GRU: h",
}
RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
WORDS = {2: 1000, 3: 100}  # letters -> n
SEED, UPDATES, UNITS = 0, 6000, 10


def trained(cell: str, letters: int, harden: float, folder: Path) -> Counter:
    """The counter of that kind, from the folder if it is there."""
    path = folder / f"{cell}-{letters}-{harden:g}.pt"
    torch.manual_seed(SEED)
    net = Counter(cell, letters, UNITS)
    slope = with_slope(cell_of(net))
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
    else:
        train([net], [slope], letters, SEED, UPDATES, harden)
        torch.save(net.state_dict(), path)
    return net.double()


def cell_of(net: Counter) -> Cell:
    cell = net.body.cells[0]
    assert isinstance(cell, Cell)
    return cell


def panel(title: str, net: Counter, letters: int) -> StatePanel:
    n = WORDS[letters]
    word = torch.tensor([END, *counted(n, letters)])
    power = str(n).translate(RAISED)
    name = " ".join(f"{letter}{power}" for letter in "abc"[:letters])
    marks = tuple(1 + n * k for k in range(1, letters))
    with torch.no_grad():
        return StatePanel(f"{title}, {name}", states_over_time(cell_of(net), net.embedding(word)), marks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, required=True, help="folder of trained counters")
    parser.add_argument("--to", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.weights.mkdir(exist_ok=True)
    rows = [
        [panel(title, trained(cell, letters, harden, given.weights), letters) for letters in WORDS]
        for (cell, harden), title in ROWS.items()
    ]
    title = "States of counters against the position in a^1000 b^1000 and a^100 b^100 c^100"
    write_text(given.to, standalone(activation_figure(rows, title=title)))


if __name__ == "__main__":
    main()
