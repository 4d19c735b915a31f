"""Trains small networks that behave like big ensembles and shows exactly what each network costs.

Everything that a verb of the command line does is one function here: ``concord.train``, ``resume``,
``study``, ``evaluate``, ``predict``, ``export``, ``write_report``, ``networks`` (zoo), ``cost_of``,
``baselines``, ``attack_runs`` (attack), ``plain_train``, ``plain_show``, ``data_check``, ``data_get``,
``doctor``, ``bench_train``, ``bench_cost``, ``bench_plain``, ``bench_stacked``. Importing the package
imports no torch; the functions do when they are called.
"""

from importlib import import_module
from typing import Any

VERBS = {
    "train": "train",
    "resume": "resume",
    "study": "study",
    "evaluate": "evaluate",
    "predict": "evaluate",
    "export": "export",
    "write_report": "report",
    "networks": "zoo",
    "cost_of": "cost",
    "data_check": "data",
    "data_get": "data",
    "doctor": "doctor",
    "bench_train": "bench",
    "bench_cost": "bench_cost",
    "bench_plain": "bench_plain",
    "bench_stacked": "bench_stacked",
    "plain_train": "plain",
    "plain_show": "plain_show",
    "baselines": "baseline",
    "attack_runs": "attack",
}
__all__ = list(VERBS)


def __getattr__(name: str) -> Any:
    """The function of that name, imported when it is first asked for."""
    if name not in VERBS:
        raise AttributeError(f"module 'concord' has no attribute {name!r}")
    return getattr(import_module(f"concord.cli.{VERBS[name]}"), name)
