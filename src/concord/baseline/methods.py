"""The classifiers by name: which settings they have, which are tried, how scikit-learn is called.

Sources of those that have a published figure: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based
learning applied to document recognition", Proceedings of the IEEE 86(11), 1998, section III.C.

Choices that the paper leaves open, or that differ from it:
  * ``linear`` is least squares on targets +1 and -1 with a ridge of 1 (the paper: a weighted sum of pixels
    for each class; gradient descent and solving linear systems gave it similar results). ``logistic`` is the
    same function trained on cross-entropy, as networks are; the paper has no figure for it.
  * ``pca_quadratic`` has the paper's 821 inputs: the 820 products of two of 40 components, and a constant.
  * ``svm_linear`` is SVC and not LinearSVC: liblinear has another loss, one machine per class in place of one
    per pair, and keeps no support vectors.
  * The kernel of ``svm_poly`` is (gamma x . x' + 1)^degree, with all powers up to the degree.
  * Defaults of the SVMs were chosen on a validation split of MNIST's training images, never on its test
    images; the others are the paper's or usual values. gamma is a multiple of 1 / (D var(x)), so that it
    fits images of other sizes.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from concord.baseline.cost import Cost, knn_cost, linear_cost, mlp_cost, quadratic_cost
from concord.baseline.samples import Samples
from concord.baseline.svm import svm_cost
from concord.errors import UsageError

CACHE = 1000  # MB for kernel values while an SVM is trained
WHOLE = ("degree", "neighbours", "components", "hidden", "epochs")
# Of every setting.
MOST = {"c": 10**10, "gamma": 10**6, "degree": 10, **dict.fromkeys(WHOLE[1:], 10**6)}
Settings = Mapping[str, float]


@dataclass(frozen=True)
class Scaled:
    """A gamma relative to the data: times / (D var(x))."""

    times: float

    def of(self, train: Samples) -> float:
        """Four digits, so that what is printed can be typed."""
        spread = train.x.shape[1] * float(train.x.var())
        return float(f"{self.times / spread:.4g}") if spread else 1.0


@dataclass(frozen=True)
class Method:
    """``grid`` has the settings that --choose tries; what it does not name stays at its default."""

    name: str
    about: str
    build: Callable[[Settings, int], Any]  # settings, seed -> an estimator of scikit-learn
    cost: Callable[[Any], Cost]
    defaults: Mapping[str, float | Scaled] = field(default_factory=dict)
    grid: tuple[Mapping[str, float | Scaled], ...] = ()

    def settings(
        self, train: Samples, given: Mapping[str, float], tried: Mapping[str, float | Scaled] | None = None
    ) -> dict[str, float]:
        """Numbers for everything: what was ``given``, else what is ``tried``, else the default.

        More components or neighbours than there can be: UsageError if they were given, else, and in a trial,
        as many as there can be.
        """
        wanted = {**self.defaults, **(tried or {}), **{k: v for k, v in given.items() if k in self.defaults}}
        found = {k: v.of(train) if isinstance(v, Scaled) else v for k, v in wanted.items()}
        for option, most in (("components", min(train.x.shape)), ("neighbours", len(train))):
            if tried is None and option in given and found.get(option, 0) > most:
                raise UsageError(f"--{option} {found[option]:g}: these images allow {most:,} at most")
            if option in found:
                found[option] = min(found[option], most)
        if "degree" in found:
            _check_kernel(train, found)
        return found


def _check_kernel(train: Samples, settings: Settings) -> None:
    """UsageError where a polynomial kernel is more than a float32 holds, as LIBSVM keeps it."""
    longest = float((train.x**2).sum(1).max())
    digits = settings["degree"] * math.log10(settings["gamma"] * longest + 1)
    if digits > 37:
        raise UsageError(
            f"--gamma {settings['gamma']:g} with --degree {settings['degree']:g}: the kernel reaches "
            f"10^{digits:.0f} on these images, 10^37 is the most; give less of one of them"
        )


def _svc(kernel: str) -> Callable[[Settings, int], Any]:
    def build(settings: Settings, seed: int) -> Any:
        from sklearn.svm import SVC

        own = {"C": settings["c"], "coef0": 1.0, "cache_size": CACHE, "gamma": settings.get("gamma", 1.0)}
        return SVC(kernel=kernel, degree=int(settings.get("degree", 3)), random_state=seed, **own)

    return build


def _perceptron(settings: Settings, seed: int) -> Any:
    from sklearn.linear_model import Perceptron

    return Perceptron(max_iter=int(settings["epochs"]), tol=None, random_state=seed)


def _linear(settings: Settings, seed: int) -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=1.0, solver="cholesky")


def _logistic(settings: Settings, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=settings["c"], max_iter=300, random_state=seed)


def _pca_quadratic(settings: Settings, seed: int) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures

    pca = PCA(int(settings["components"]), svd_solver="covariance_eigh")
    products = PolynomialFeatures((2, 2), include_bias=False)
    return make_pipeline(pca, products, RidgeClassifier(alpha=1.0, solver="cholesky"))


def _knn(settings: Settings, seed: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(int(settings["neighbours"]), algorithm="brute")


def _mlp(settings: Settings, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    hidden, epochs = int(settings["hidden"]), int(settings["epochs"])
    return MLPClassifier((hidden,), max_iter=epochs, n_iter_no_change=epochs, random_state=seed)


def _grid(**values: Sequence[float | Scaled]) -> tuple[Mapping[str, float | Scaled], ...]:
    """Every combination."""
    from itertools import product

    return tuple(dict(zip(values, row, strict=True)) for row in product(*values.values()))


METHODS = {
    method.name: method
    for method in (
        Method(
            "svm_linear",
            "support vectors, no kernel",
            _svc("linear"),
            svm_cost,
            {"c": 0.05},
            _grid(c=(0.01, 0.05, 0.2)),
        ),
        Method(
            "svm_rbf",
            "support vectors, kernel exp(-gamma ||x - x'||^2)",
            _svc("rbf"),
            svm_cost,
            {"c": 5.0, "gamma": Scaled(2)},
            _grid(c=(1.0, 5.0, 20.0), gamma=(Scaled(1), Scaled(2), Scaled(3))),
        ),
        Method(
            "svm_poly",
            "support vectors, kernel (gamma x . x' + 1)^degree",
            _svc("poly"),
            svm_cost,
            {"c": 1.0, "gamma": Scaled(1), "degree": 4},
            _grid(c=(0.1, 1.0), degree=(2, 3, 4)),
        ),
        Method(
            "perceptron",
            "Rosenblatt's rule, one for each class",
            _perceptron,
            linear_cost,
            {"epochs": 20},
            _grid(epochs=(5, 20, 80)),
        ),
        Method("linear", "one linear layer, least squares", _linear, linear_cost),
        Method(
            "logistic",
            "one linear layer, cross-entropy",
            _logistic,
            linear_cost,
            {"c": 0.1},
            _grid(c=(0.01, 0.1, 1.0)),
        ),
        Method(
            "pca_quadratic",
            "principal components, their products, least squares",
            _pca_quadratic,
            quadratic_cost,
            {"components": 40},
            _grid(components=(20, 40, 60)),
        ),
        Method(
            "knn",
            "nearest neighbours, Euclidean",
            _knn,
            knn_cost,
            {"neighbours": 3},
            _grid(neighbours=(1, 3, 5, 9)),
        ),
        Method(
            "mlp",
            "one hidden layer of ReLU, Adam",
            _mlp,
            mlp_cost,
            {"hidden": 300, "epochs": 20},
            _grid(hidden=(100, 300)),
        ),
    )
}
GROUPS = {"svm": ("svm_linear", "svm_rbf", "svm_poly"), "all": tuple(METHODS)}
