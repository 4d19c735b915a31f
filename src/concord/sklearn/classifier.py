"""The estimator."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from concord.consensus.objective import ensemble_logits
from concord.data.splits import cut_labels
from concord.errors import UsageError
from concord.runs.ensemble import Ensemble
from concord.runs.history import History
from concord.runs.own_settings import Bound, Cost
from concord.sklearn import networks
from concord.sklearn.networks import Spec, Specs
from concord.tasks.classify import Classify, ClassScores
from concord.training.observer import SILENT
from concord.training.optim import Adam

Floats = NDArray[np.float64]
DTYPES = (np.float64, np.float32)  # everything else becomes float64


class CollaborativeClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # sklearn is untyped
    """Several small networks that are trained together on a table and predict together.

    During training a consensus cost pulls their predictions together (Noel 2017), so that each member comes
    close to the whole ensemble. ``member(name)`` is one of them by itself, to be used in its place.

    Parameters
    ----------
    members : list or dict, default ((32,), (128,))
        For each member the widths of the hidden layers of a multilayer perceptron (``()`` is a linear one),
        or a function (features, classes) -> ``torch.nn.Module`` that takes (B, D) and gives logits (B, K). A
        dict names the members; in a list they are called member-1, member-2, ... For a pickle, functions and
        modules must be importable by name.
    consensus : str or function, default "kl"
        Cost between the predictions of two members: "kl", "l2", "l1", "sce", "none", ... or a function of two
        batches of logits (B, K) to (B,).
    weight : float or None, default None
        Weight of that cost; 0 is the plain ensemble. None is the recommended weight of "kl" and "sce_tf1": 1,
        which rises linearly from 0 over the training. The other costs need a weight.
    edges : str, table or Edges, default "chain"
        Which member learns from which: "chain", "all", "ring", "star", ...
    temperature : float, default None
        For the costs "kl" and "kdcl_...".
    epochs : int, default 30
    batch_size : int, default 64
    lr : float, default 0.01
        Learning rate of Adam at the start.
    weight_decay : float, default 1e-4
    schedule : {"halving", "cosine", "constant"}, default "halving"
        How the learning rate falls.
    valid : float, default None
        Fraction of every class that is kept out of training; the scores on it are in ``history_``.
    patience : int, default None
        Stop after this many epochs without a smaller error of the ensemble on those samples, and keep the
        best weights. Needs ``valid``.
    standardize : bool, default True
        Shift and scale every feature to mean 0 and variance 1 first.
    random_state : int, RandomState or None, default None
        Decides initial weights, order of samples, dropout and which samples are kept out. With an int no
        generator outside is touched; None draws from numpy's global generator, as everywhere in scikit-learn.

    Attributes
    ----------
    classes_ : array (K,)
    n_features_in_ : int
    feature_names_in_ : array (D,)
        Only of data whose columns have names.
    ensemble_ : concord.Ensemble
        The trained networks; ``ensemble_["member-1"]`` is a module. They take what ``scaler_`` gives.
    scaler_ : StandardScaler or None
    history_ : concord.History
        Figures of every epoch.
    n_iter_ : int
        Epochs that were trained.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> x, y = load_iris(return_X_y=True)
    >>> model = CollaborativeClassifier({"small": (16,), "big": (64,)}, random_state=0, epochs=60).fit(x, y)
    >>> model.predict(x[::50]), model.member("small").predict(x[::50])
    (array([0, 1, 2]), array([0, 1, 2]))
    """

    def __init__(
        self,
        members: Specs = ((32,), (128,)),
        *,
        consensus: Cost = "kl",
        weight: float | None = None,
        edges: Bound = "chain",
        temperature: float | None = None,
        epochs: int = 30,
        batch_size: int = 64,
        lr: float = 0.01,
        weight_decay: float = 1e-4,
        schedule: str = "halving",
        valid: float | None = None,
        patience: int | None = None,
        standardize: bool = True,
        random_state: "int | np.random.RandomState | None" = None,
    ) -> None:
        self.members = members
        self.consensus = consensus
        self.weight = weight
        self.edges = edges
        self.temperature = temperature
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.schedule = schedule
        self.valid = valid
        self.patience = patience
        self.standardize = standardize
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train new networks on the samples X (N, D) and their classes y (N,), any labels.

        Raises ValueError for what cannot be trained on, and DivergedError with the members named.
        """
        table, given = validate_data(self, X, y, dtype=DTYPES)
        check_classification_targets(given)
        classes, labels = np.unique(given, return_inverse=True)
        if len(classes) < 2:
            raise UsageError(f"at least 2 classes are needed, y has 1 class: {classes.tolist()[0]!r}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        scaler = StandardScaler().fit(table) if self.standardize else None
        specs = networks.named(self.members)
        ensemble = self._made(specs, table.shape[1], len(classes), seed)
        inputs = torch.from_numpy(_scaled(scaler, table)).float()
        self.history_ = self._trained(ensemble, inputs, torch.from_numpy(labels), seed)
        self.classes_, self.scaler_, self.ensemble_, self._specs = classes, scaler, ensemble, specs
        self.n_iter_ = len(self.history_)
        return self

    def _made(
        self, specs: Mapping[str, Spec], features: int, classes: int, seed: int
    ) -> "Ensemble[ClassScores]":
        """An ensemble that has learned nothing yet."""
        return Ensemble(
            networks.build(specs, features, classes, seed),
            consensus=self.consensus,
            weight=None if self.weight is None else self._number("weight"),
            edges=self.edges,
            temperature=self.temperature,
            task=Classify(classes),
        )

    def _trained(
        self, ensemble: "Ensemble[ClassScores]", x: Tensor, labels: Tensor, seed: int
    ) -> "History[ClassScores]":
        """The figures, without the predictions, which would only make a pickle large."""
        train, held = _cut(labels, self.valid, seed)
        history = ensemble.fit(
            (x[train], labels[train]),
            valid=(x[held], labels[held]) if len(held) else None,
            epochs=self._count("epochs"),
            batch_size=self._count("batch_size"),
            optimizer=Adam(lr=self._number("lr"), weight_decay=self._number("weight_decay")),
            schedule=self.schedule,
            patience=None if self.patience is None else self._count("patience"),
            seed=seed,
            observer=SILENT,
        )
        epochs = tuple(replace(epoch, predictions={}, targets=None) for epoch in history.epochs)
        return replace(history, epochs=epochs, predictions={})

    def _count(self, name: str) -> int:
        return int(check_scalar(getattr(self, name), name, Integral, min_val=1))

    def _number(self, name: str) -> float:
        return float(check_scalar(getattr(self, name), name, Real, min_val=0))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The class that the ensemble names for each sample. Shape: (N, D) -> (N,)"""
        best = self._logits(X).argmax(1)
        found: NDArray[Any] = self.classes_[best]
        return found

    def predict_proba(self, X: ArrayLike) -> Floats:
        """Probabilities of the ensemble: softmax of the mean of logits. Shape: (N, D) -> (N, K)"""
        return softmax(self._logits(X), axis=1)

    def predict_log_proba(self, X: ArrayLike) -> Floats:
        """Their logarithms. Shape: (N, D) -> (N, K)"""
        return log_softmax(self._logits(X), axis=1)

    def decision_function(self, X: ArrayLike) -> Floats:
        """Mean of logits; of two classes, that of the second minus that of the first.

        Shape: (N, D) -> (N, K), or (N,) of two classes
        """
        found = self._logits(X)
        return found[:, 1] - found[:, 0] if found.shape[1] == 2 else found

    def _logits(self, X: ArrayLike) -> Floats:
        """Mean of the members' logits. Shape: (N, D) -> (N, K)"""
        check_is_fitted(self)
        table = validate_data(self, X, dtype=DTYPES, reset=False)
        x = torch.from_numpy(_scaled(self.scaler_, table)).double()
        members = self.ensemble_.members.values()
        return ensemble_logits([networks.logits(net, x) for net in members]).numpy()

    def member(self, name: str) -> Self:
        """One member by itself as a fitted estimator, to be used in place of the ensemble.

        Its network is that of the ensemble, not a copy; pickled, it is without the other members. ``fit``
        trains this member alone. Raises UsageError for an unknown name.
        """
        check_is_fitted(self)
        alone = copy(self)
        alone.ensemble_ = Ensemble({name: self.ensemble_[name]}, task=self.ensemble_.task)
        alone._specs = {name: self._specs[name]}
        alone.set_params(members=alone._specs, consensus="none", weight=0.0, edges="chain", temperature=None)
        return alone


def _scaled(scaler: StandardScaler | None, table: NDArray[Any]) -> NDArray[Any]:
    """What members take, in memory of its own."""
    return table.copy() if scaler is None else scaler.transform(table)


def _cut(labels: Tensor, fraction: float | None, seed: int) -> tuple[Tensor, Tensor]:
    """Numbers of the samples to train on and of those kept out. Shape: (N,) -> (n,), (m,)"""
    if fraction is None:
        return torch.arange(len(labels)), torch.arange(0)
    check_scalar(fraction, "valid", Real, min_val=0, max_val=1, include_boundaries="neither")
    rest, held = cut_labels(labels, max(1, round(fraction * len(labels))), "valid", seed)
    if not len(held):
        raise UsageError(
            f"{len(labels)} samples are too few to cut off valid={fraction}: no class may be emptied"
        )
    return rest, held
