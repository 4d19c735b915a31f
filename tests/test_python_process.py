"""The process belongs to the caller: what the functions of concord find in it is there afterwards."""

import inspect
import os
import random
import signal
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from python_made import data, members, same, states

import concord

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGUSR1, signal.SIGALRM)
ZOO = {
    "data": {"limit": 60},
    "members": [{"name": "st", "network": "noel2017_st"}],
    "train": {"epochs": 1, "threads": 2, "device": "cpu"},
}


def process():
    """Everything of a process that a library could change behind its caller's back."""
    cuda = torch.backends.cuda
    return {
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "threads": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,
        ),
        "cudnn": (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, cuda.matmul.allow_tf32),
        "attention": (cuda.flash_sdp_enabled(), cuda.mem_efficient_sdp_enabled(), cuda.cudnn_sdp_enabled()),
        "precision": (torch.get_default_dtype(), torch.get_float32_matmul_precision()),
        "gradients": (torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")),
        "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "python": random.getstate(),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "streams": (sys.stdout, sys.stderr, sys.excepthook),
        "folder": os.getcwd(),  # noqa: PTH109
    }


def new_threads(before, seconds=10):
    """Threads that stay: the one that feeds the queue of a worker ends a moment after the worker."""
    deadline = time.monotonic() + seconds
    while (new := set(threading.enumerate()) - before) and time.monotonic() < deadline:
        time.sleep(0.01)
    return new


def ensemble():
    return concord.Ensemble(members(), consensus="l2", weight=0.1)


def fit(tmp_path):
    ensemble().fit(data(), epochs=1)


def fit_with_workers(tmp_path):
    ensemble().fit(data(), epochs=1, workers=1)


def fit_in_a_folder(tmp_path):
    ensemble().fit(data(), epochs=1, out=tmp_path / "run", patience=1)


def fit_a_loader(tmp_path):
    x, y = data()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=16, shuffle=True)
    made = concord.Ensemble(members(), task=concord.Classify(3))
    made.fit(loader, valid=loader, epochs=1)
    made.evaluate(loader)
    made.predict(loader)


def evaluate_predict_and_save(tmp_path):
    made = concord.Ensemble(members(), task=concord.Classify(3))
    x, y = data()
    made.evaluate((x, y))
    made.predict(x)
    made.member("big").predict_proba(x.numpy())
    made.save(tmp_path / "own")
    concord.load(tmp_path / "own", members=members(1))


def fail(tmp_path):
    x, y = data()
    with pytest.raises(concord.DivergedError):
        ensemble().fit((x, y), epochs=2, optimizer=concord.Sgd(lr=1e30))


def stop(tmp_path):
    with pytest.raises(concord.StoppedError):
        ensemble().fit(data(), epochs=2, out=tmp_path / "run", stop=lambda: True)


def interrupt(tmp_path):
    class Impatient(concord.training.observer.Silent):
        def update(self, step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensemble().fit(data(), epochs=2, observer=Impatient())


def a_loop_of_the_users(tmp_path):
    made = members()
    optimizer = torch.optim.SGD([p for m in made.values() for p in m.parameters()], lr=0.1)
    list(concord.updates(concord.cohort({"small": made["small"]}, classes=3), [data()], optimizer))


def networks_of_the_zoo(tmp_path):
    run = concord.train(ZOO, out=tmp_path / "run")
    run.evaluate()
    run.predict(["nothing.png"])
    run.export("st", tmp_path / "st.safetensors")
    concord.resume(tmp_path / "run")
    run.report()


JOBS = [
    fit,
    fit_with_workers,
    fit_in_a_folder,
    fit_a_loader,
    evaluate_predict_and_save,
    fail,
    stop,
    interrupt,
    a_loop_of_the_users,
    networks_of_the_zoo,
]


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job.__name__)
def test_the_process_is_as_it_was_found(job, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    job(tmp_path / "first")  # what is imported and started once for all, as the threads of a library
    torch.set_num_threads(1)
    before, running = process(), set(threading.enumerate())
    job(tmp_path / "second")
    after = process()
    assert {key: (before[key], after[key]) for key in before if before[key] != after[key]} == {}
    assert new_threads(running) == set()
    assert capfd.readouterr() == ("", "")


def test_an_environment_without_the_variable_of_cublas_stays_without(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    fit(None)
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ


def test_modules_keep_the_modes_that_they_had():
    made = members()
    made["big"][1].eval()  # a user froze these statistics
    before = {name: [part.training for part in member.modules()] for name, member in made.items()}
    trained = concord.Ensemble(made)
    trained.fit(data(), epochs=1)
    trained.predict(data()[0])
    assert {name: [p.training for p in member.modules()] for name, member in made.items()} == before


def test_an_interrupted_training_leaves_members_that_can_be_trained_on():
    class Third(concord.training.observer.Silent):
        def update(self, step):
            if step.index == 2:
                raise KeyboardInterrupt

    made = ensemble()
    start = states(made)
    with pytest.raises(KeyboardInterrupt):
        made.fit(data(), epochs=5, observer=Third())
    assert not same(start, states(made))
    assert len(made.fit(data(), epochs=1)) == 1


def test_importing_the_package_and_naming_its_parts_imports_no_torch():
    import subprocess

    code = (
        "import sys, concord; dir(concord); concord.Config, concord.Member; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_functions_are_called_by_their_public_names():
    functions = [name for name in concord.__all__ if inspect.isroutine(getattr(concord, name))]
    assert len(functions) > 10
    assert [name for name in functions if getattr(concord, name).__name__ != name] == []


def test_what_is_public_is_listed_and_nothing_else():
    assert dir(concord) == sorted(concord.__all__)
    assert all(hasattr(concord, name) for name in concord.__all__)
