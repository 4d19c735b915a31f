"""The share of a convolution's work that a separable one needs."""

from matplotlib.figure import Figure

from concord.cost.arithmetic import Windows, convolution
from concord.report.svg import COLOURS, svg

CHANNELS, SIDE = 64, 32
FILTERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


def macs(channels: int, filters: int, kernel: int, groups: int) -> int:
    """Of one layer that keeps the size of its map."""
    windows = Windows((kernel,) * 2, (1, 1), (kernel // 2,) * 2, (1, 1))
    shape = (1, channels, SIDE, SIDE)
    answer = convolution(shape, (None,) * 4, filters, windows, groups=groups, bias=False)
    assert answer is not None
    return answer.work.macs


def share(filters: int, kernel: int) -> float:
    apart = macs(CHANNELS, CHANNELS, kernel, CHANNELS) + macs(CHANNELS, filters, 1, 1)
    return apart / macs(CHANNELS, filters, kernel, 1)


def picture() -> str:
    def draw(figure: Figure) -> None:
        ax = figure.subplots()
        for colour, kernel in zip(COLOURS, (3, 5, 7), strict=False):
            shares = [share(filters, kernel) for filters in FILTERS]
            ax.plot(FILTERS, shares, color=colour, marker="o", markersize=3, label=f"{kernel}x{kernel}")
            ax.axhline(1 / kernel**2, color=colour, linewidth=0.8, linestyle=":")
            ax.annotate(f"1/{kernel**2}", (1150, 1 / kernel**2), color=colour, va="center")
        ax.axhline(1, color="#8a8a8a", linewidth=1)
        ax.annotate("as much as a convolution", (1000, 1.06), ha="right", color="#666666")
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ["2 %", "5 %", "10 %", "20 %", "50 %", "100 %"])
        ax.minorticks_off()
        ax.set_xlim(1, 1500)
        ax.set_xticks(FILTERS, [str(n) for n in FILTERS])
        ax.set_xlabel("N, filters")
        ax.set_ylabel("share of the MACs")
        ax.grid(True)
        ax.legend(loc="lower left")

    return svg(6.8, 3.3, "A separable convolution needs 1/N + 1/K² of the work of a convolution", draw)
