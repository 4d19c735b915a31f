"""Trains small networks that behave like big ensembles and shows exactly what each network costs.

Everything that a verb of the command line does is one function here: ``concord.train``, ``resume``,
``study``, ``evaluate``, ``predict``, ``export``, ``write_report``, ``networks`` (zoo), ``cost_of``,
``baselines``, ``attack_runs`` (attack), ``plain_train``, ``plain_show``, ``data_check``, ``data_get``,
``doctor``, ``bench_train``, ``bench_cost``, ``bench_decode``, ``bench_plain``, ``bench_stacked``. Importing
the package imports no torch; the functions do when they are called.
"""

from importlib import import_module
from typing import Any

HOMES = {
    "train": "api.train",
    "resume": "api.train",
    "study": "api.study",
    "evaluate": "api.evaluate",
    "predict": "api.evaluate",
    "export": "api.evaluate",
    "write_report": "api.report",
    "networks": "zoo.registry",
    "cost_of": "runs.costs",
    "data_check": "api.data",
    "data_get": "api.data",
    "doctor": "runs.doctor",
    "bench_train": "bench.train",
    "bench_cost": "bench.cost",
    "bench_decode": "bench.decode",
    "bench_plain": "bench.plain",
    "bench_stacked": "bench.stacked",
    "plain_train": "api.plain",
    "plain_show": "plain.worked",
    "baselines": "api.baseline",
    "attack_runs": "api.attack",
}
__all__ = list(HOMES)


def __getattr__(name: str) -> Any:
    """The function of that name, imported when it is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module 'concord' has no attribute {name!r}")
    return getattr(import_module(f"concord.{HOMES[name]}"), name)
