"""A cell that stores what it is told to, and how far its gradient reaches beside that of an RNN."""

from matplotlib.figure import Figure

from concord.plain import lstm, rnn
from concord.plain.lstm import LSTM
from concord.plain.rnn import RNN
from concord.report.svg import COLOURS, svg

VALUES = [0.8, 0.3, -0.5, 0.9, -0.2, -0.7, 0.4, 0.9, -0.6, 0.1, 0.6, -0.9, 0.5, -0.3, 0.7, 0.2]
WRITE = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0]
# rows f, i, g, o; inputs: value, write. Without writing f = .993 and i = .007, with it the other way round.
STORE = LSTM([[0.0, -10.0], [0.0, 10.0], [1.5, 0.0], [0.0, 0.0]], [[0.0]] * 4, [5.0, -5.0, 0.0, 3.0])


def reach_of_lstm(steps: int) -> float:
    """dc_T/dc_0 with nothing written: what dL/dh_T = 1 asks of c_0, over what it asks of c_T."""
    inputs = [[0.0, 0.0]] * steps
    passed = lstm.forward(STORE, inputs, [0.0], [0.5])
    dh = [[0.0]] * (steps - 1) + [[1.0]]
    back = lstm.backward(STORE, inputs, [0.0], [0.5], passed, dh)
    before = passed[-2].c if steps > 1 else [0.5]
    _, at_the_end = lstm.step_backward(passed[-1], before, [1.0], [0.0])
    return back.c_0[0] / at_the_end[0] * passed[-1].f[0]


def reach_of_rnn(steps: int, weight: float) -> float:
    """dh_T/dh_0 of h_t = tanh(w h_(t-1)), from h_0 = 0.5: the product of w (1 - h_t^2)."""
    cell = RNN([[0.0]], [[weight]], [[1.0], [-1.0]], [0.0], [0.0, 0.0], [0.5])
    product = 1.0
    for h in (state[0] for state in rnn.forward(cell, [[0.0]] * steps).states[1:]):
        product *= weight * (1 - h**2)
    return product


def picture() -> str:
    inputs = [[value, float(write)] for value, write in zip(VALUES, WRITE, strict=True)]
    steps = lstm.forward(STORE, inputs, [0.0], [0.0])
    forget, admit = [s.f[0] for s in steps], [s.i[0] for s in steps]
    times, lengths = range(1, len(steps) + 1), range(1, 101)

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        left.step(times, [s.c[0] for s in steps], where="mid", color=COLOURS[0], label="cell state c")
        left.plot(times, VALUES, "o", markersize=3, color="#8a8a8a", label="value that comes in")
        left.step(times, forget, where="mid", color=COLOURS[2], linestyle="--", label="forget f")
        left.step(times, admit, where="mid", color=COLOURS[1], linestyle=":", label="input i")
        for t, write in zip(times, WRITE, strict=True):
            if write:
                left.annotate("write", (t, -1.25), ha="center", color=COLOURS[1])
        left.set_ylim(-1.4, 2.4)
        left.set_yticks([-1, 0, 1])
        left.legend(loc="upper left", ncols=2)
        left.set_xlabel("step t")
        right.plot(lengths, [reach_of_lstm(t) for t in lengths], color=COLOURS[0], label="LSTM, f = 0.993")
        for colour, weight in ((COLOURS[1], 0.9), (COLOURS[6], 1.0)):
            reach = [reach_of_rnn(t, weight) for t in lengths]
            right.plot(lengths, reach, color=colour, linestyle="--", label=f"RNN, w = {weight:g}")
        right.set_yscale("log")
        right.yaxis.set_major_formatter("{x:g}")
        right.set_xlabel("T, steps")
        right.set_ylabel("dc_T/dc_0, dh_T/dh_0")
        right.grid(True)
        right.legend(loc="lower left")

    return svg(8.0, 3.3, "An LSTM cell stores three values; its gradient outlasts that of an RNN", draw)
