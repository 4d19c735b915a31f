"""A digit, the sign of a gradient, and a digit that is taken for another."""

import numpy as np
import torch
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from concord.attack.fgsm import fgsm
from concord.attack.gradient import Classifier, Loss, away
from concord.attack.pgd import pgd
from concord.report.svg import COLOURS, svg

EPS, HELD = 0.15, 500


def trained() -> tuple[Classifier, Tensor, Tensor]:
    """A softmax classifier of digits, and the digits that it has not seen."""
    digits = load_digits()
    pixels = digits.data / 16
    model = LogisticRegression(max_iter=300).fit(pixels[:-HELD], digits.target[:-HELD])
    weights, biases = torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_)
    images = torch.from_numpy(pixels[-HELD:]).view(-1, 1, 8, 8)
    return lambda x: x.flatten(1) @ weights.T + biases, images, torch.from_numpy(digits.target[-HELD:])


def said(network: Classifier, image: Tensor) -> str:
    sure, vote = network(image).softmax(1).max(1)
    return f"{vote.item()} ({100 * sure.item():.1f} %)"


def accuracy(network: Classifier, images: Tensor, labels: Tensor) -> float:
    return 100 * (network(images).argmax(1) == labels).double().mean().item()


def surest(network: Classifier, images: Tensor, labels: Tensor) -> int:
    """The digit that is recognised most surely and then mistaken most surely."""
    before = network(images).softmax(1).gather(1, labels[:, None])[:, 0]
    after = network(fgsm(away(network, labels), images, EPS)).softmax(1)
    wrong = after.scatter(1, labels[:, None], 0).amax(1)
    return int((before * wrong).argmax())


def picture() -> str:
    network, images, labels = trained()
    n = surest(network, images, labels)
    x, loss = images[n : n + 1], away(network, labels[n : n + 1])
    changed = fgsm(loss, x, EPS)
    sizes = np.linspace(0, 0.3, 13).tolist()
    everything: Loss = away(network, labels)
    curves = {
        "FGSM": [accuracy(network, fgsm(everything, images, e), labels) for e in sizes],
        "PGD, 10 steps": [
            accuracy(network, pgd(everything, images, e, steps=10, step_size=e / 4), labels) for e in sizes
        ],
    }

    def draw(figure: Figure) -> None:
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1))
        axes = above.subplots(1, 3)
        signs = torch.sign(fgsm(loss, x, 1e-6, low=-1, high=2) - x)
        two = ListedColormap([COLOURS[0], "#f4f4f4", COLOURS[1]])
        for ax, numbers, title in zip(
            axes,
            (x, signs, changed),
            (f"x: {said(network, x)}", f"+ {EPS:g} · sign(gradient)", f"x': {said(network, changed)}"),
            strict=True,
        ):
            signed = numbers is signs
            colours = two if signed else "gray_r"
            ax.imshow(numbers[0, 0], cmap=colours, vmin=-1 if signed else 0, vmax=1)
            ax.set_title(title)
            ax.axis("off")
        ax = below.subplots()
        for colour, style, (name, found) in zip(COLOURS, ("-", "--"), curves.items(), strict=False):
            ax.plot(sizes, found, style, color=colour, marker="o", markersize=3, label=name)
        ax.set_xlabel("eps (pixels go from 0 to 1)")
        ax.set_ylabel("accuracy (%)")
        ax.set_ylim(0, 103)
        ax.grid(True)
        ax.legend()

    return svg(
        7.2, 5.4, "A digit, the sign of the gradient, and their sum, which is taken for another digit", draw
    )
