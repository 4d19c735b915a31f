"""``concord baseline`` as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from itertools import islice

import pytest
from run_made import call, write_npz

import concord
from concord.baseline import published
from concord.cli import solver
from concord.data import memory
from concord.errors import DataError, ResourceError, UsageError
from concord.runs import comparison, rival_rows

RUN = {
    "data": {"limit": 300},
    "members": [{"name": "ST", "network": "noel2017_st"}, {"name": "B", "network": "noel2017_text_st"}],
    "train": {"epochs": 1, "batch_size": 64, "threads": 1, "precision": "float32"},
}
KEYS = {
    "name",
    "settings",
    "train_images",
    "test_error",
    "low",
    "high",
    "seconds",
    "microseconds_per_image",
    "support_vectors",
    "support_vectors_per_class",
    "numbers",
    "bytes",
    "macs",
    "published",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "first"
    return path, concord.train(RUN, path)


@pytest.fixture
def npz(tmp_path):
    return write_npz(tmp_path / "data.npz")


def rows(document):
    return {row["name"]: row for row in document["rows"]}


def test_a_table_on_stdout_and_the_progress_on_stderr(capsys):
    status, out, err = call(capsys, "baseline", "knn", "svm_linear", "--data", "digits", "--limit", 300)
    assert status == 0
    assert "knn" in out
    assert "neighbours 3" in out
    assert "Against knn" in out
    assert "Support vectors of each class" in out
    assert "Published on MNIST" not in out
    assert "svm_linear (support vectors, no kernel) with c 0.05: training on 300 images, 1,000 MB" in err
    assert err.count("test error") == 2


def test_the_document_has_every_figure(capsys):
    status, out, _ = call(capsys, "baseline", "svm", "--data", "digits", "--c", 2, "--gamma", "0.1", "--json")
    document = json.loads(out)
    assert status == 0
    assert [row["name"] for row in document["rows"]] == ["svm_linear", "svm_rbf", "svm_poly"]
    assert all(set(row) == KEYS for row in document["rows"])
    rbf = rows(document)["svm_rbf"]
    assert rbf["settings"] == "c 2, gamma 0.1"
    assert rbf["test_error"] < 0.02
    assert rbf["low"] < rbf["test_error"] < rbf["high"]
    assert rbf["support_vectors"] == sum(rbf["support_vectors_per_class"])
    assert rbf["bytes"] == 4 * rbf["numbers"] == 4 * (rbf["support_vectors"] * 73 + 45)
    assert rbf["published"] is None
    assert (document["test_images"], document["against"], document["mnist"]) == (359, "svm_linear", False)
    assert [pair["name"] for pair in document["pairs"]] == ["svm_rbf", "svm_poly"]


def test_members_and_ensemble_of_a_run_stand_beside_the_baselines(run):
    path, result = run
    document = concord.baselines(["linear"], runs=[path])
    found = rows(document)
    assert list(found) == ["linear", "first: ST", "first: B", "first: ensemble"]
    for name, member in result["members"].items():
        row = found[f"first: {name}"]
        assert row["test_error"] == pytest.approx(member["test_error"])
        assert (row["numbers"], row["macs"]) == (member["parameters"], member["macs"])
        assert row["seconds"] == pytest.approx(result["seconds"])
        assert row["train_images"] == 300
    both = result["members"].values()
    assert found["first: ensemble"]["test_error"] == pytest.approx(result["ensemble"]["test_error"])
    assert found["first: ensemble"]["numbers"] == sum(member["parameters"] for member in both)
    assert found["linear"]["train_images"] == 300  # the limit of the run
    assert document["against"] == "first: ensemble"


def test_runs_with_other_test_images_are_refused(run, tmp_path):
    other = tmp_path / "other"
    concord.train({**RUN, "members": RUN["members"][:1], "data": {"limit": 300, "seed": 5}}, other)
    with pytest.raises(DataError, match="other: the test images of this run are not those of the table"):
        concord.baselines(["linear"], runs=[run[0], other])


def test_settings_are_chosen_without_the_test_images(monkeypatch):
    seen = []
    real = comparison.trials

    def watched(method, given, train, valid, seed):
        seen.append((len(train), len(valid)))
        return real(method, given, train, valid, seed)

    monkeypatch.setattr(comparison, "trials", watched)
    document = concord.baselines(["knn", "linear"], "digits", choose=True, choose_on=200)
    assert seen == [(200, 144)]  # a tenth of the 1,438 that are no test images
    tried = document["chosen"]["knn"]
    best = min(tried, key=lambda row: row["valid_error"])["settings"]["neighbours"]
    assert rows(document)["knn"]["settings"] == f"neighbours {best}"
    assert rows(document)["knn"]["train_images"] == 1438
    assert [row["train_images"] for row in tried] == [200] * 4


def test_mnist_is_known_by_its_test_images(npz, monkeypatch, capsys):
    plain = concord.baselines(["knn"], str(npz))
    assert (plain["mnist"], rows(plain)["knn"]["published"]) == (False, None)
    monkeypatch.setattr(comparison, "MNIST_TEST", plain["test_fingerprint"])
    assert rows(concord.baselines(["knn"], str(npz)))["knn"]["published"] is None  # not all of MNIST's
    monkeypatch.setattr(published, "MNIST_TRAIN", rows(plain)["knn"]["train_images"])
    assert rows(concord.baselines(["knn"], str(npz)))["knn"]["published"] == 0.05
    assert rows(concord.baselines(["knn"], str(npz), limit=20))["knn"]["published"] is None
    _, out, _ = call(capsys, "baseline", "knn", "--data", npz)
    assert "Published on MNIST" in out


def test_the_limit_is_cut_before_memory_is_asked_for(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1_000_000)
    assert rows(concord.baselines(["knn"], "digits", limit=100))["knn"]["train_images"] == 100
    with pytest.raises(ResourceError, match=r"the images as numbers needs 1.8 MB .* a smaller --limit"):
        concord.baselines(["knn"], "digits")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("svm_rbf", {}, "svm_rbf with c 5, gamma .* needs 8.3 MB"),
        ("mlp", {"hidden": 1_000_000}, "mlp with hidden 1e.06, epochs 20 needs 5.3 GB"),
        ("pca_quadratic", {"components": 60}, "pca_quadratic with components 60 needs 42.1 MB"),
    ],
)
def test_what_a_method_takes_is_asked_for_before_anything_is_trained(name, options, said, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 5_000_000)
    monkeypatch.setattr(comparison, "measure", lambda *_: pytest.fail("trained"))
    with pytest.raises(ResourceError, match=said + ".* a smaller --limit, --hidden or --components helps"):
        concord.baselines(["knn", name], "digits", options=options)


def test_components_that_only_the_whole_set_allows_can_be_chosen_for():
    document = concord.baselines(
        ["pca_quadratic"], "digits", options={"components": 50}, choose=True, choose_on=30
    )
    assert [row["settings"] for row in document["chosen"]["pca_quadratic"]] == [{"components": 30}]
    assert rows(document)["pca_quadratic"]["settings"] == "components 50"


def test_the_first_batch_of_a_network_stays_outside_of_the_clock(run, monkeypatch):
    asked = []
    real = rival_rows._logits

    def watched(loaded, name, samples):
        asked.append(isinstance(samples, islice))
        return real(loaded, name, samples)

    monkeypatch.setattr(rival_rows, "_logits", watched)
    concord.baselines(["linear"], runs=[run[0]])
    assert asked == [True, False] * 2


@pytest.mark.parametrize("seed", [5_000_000_000, -1, 1.5])
def test_a_seed_that_the_solvers_cannot_take_is_refused(seed, monkeypatch):
    monkeypatch.setattr(comparison, "measure", lambda *_: pytest.fail("trained"))
    with pytest.raises(UsageError, match="--seed must be a whole number, 0 to 4,294,967,295, got"):
        concord.baselines(["knn", "mlp"], "digits", seed=seed)


def test_all_baselines_run_on_tiny_images(npz):
    document = concord.baselines(["all"], str(npz))
    assert len(document["rows"]) == 9
    assert rows(document)["pca_quadratic"]["settings"] == "components 36"


@pytest.mark.parametrize(("suffix", "sign"), [(".html", "<table"), (".md", "| :-- |")])
def test_the_tables_are_written_to_a_file(suffix, sign, tmp_path, capsys):
    file = tmp_path / f"table{suffix}"
    status, _, _ = call(
        capsys, "baseline", "linear", "knn", "--data", "digits", "--limit", 200, "--out", file
    )
    assert status == 0
    assert sign in file.read_text()
    assert "Against linear" in file.read_text()


def test_equal_seeds_give_equal_figures():
    def figures():
        timed = ("seconds", "microseconds_per_image")
        found = concord.baselines(["mlp", "perceptron"], "digits", limit=200, options={"epochs": 3})
        return [{k: v for k, v in row.items() if k not in timed} for row in found["rows"]]

    assert figures() == figures()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["svn", "--data", "digits"], "no baseline 'svn' (did you mean 'svm'?)"),
        (["knn"], "say where the images come from: --data PATH"),
        (["knn", "--data", "digits", "--gamma", "1"], "--gamma belongs to svm_rbf, svm_poly"),
        (["svm", "--data", "digits", "--c", "-1"], "--c must be a positive number, got -1"),
        (["mlp", "--data", "digits", "--seed", "5000000000"], "--seed must be a whole number, 0 to"),
        (["mlp", "--data", "digits", "--hidden", "1000000000000"], "--hidden must be at most 1,000,000"),
        (["svm_poly", "--data", "digits", "--degree", "3000000000"], "--degree must be at most 10"),
        (["knn", "--data", "digits", "--neighbours", "5000"], "these images allow 1,438 at most"),
        (["knn", "--data", "digits", "--set", "train.epochs=2"], "a baseline takes settings of data only"),
        (["knn", "--data", "digits", "--set", "data.sise=2"], "unknown key"),
        (["knn", "--data", "digits", "--choose", "--set", "data.valid=0.0"], "needs validation images"),
        (["knn", "--data", "digits", "--out", "table.pdf"], "ends in .html or .md"),
        (["knn", "--data", "digits", "--limit", "1"], "all of one class"),
    ],
)
def test_wrong_use_is_refused(arguments, said, capsys):
    status, out, err = call(capsys, "baseline", *arguments)
    assert (status, out) == (UsageError.exit_status, "")
    assert said in err


def test_data_that_is_not_there_is_a_data_error(capsys):
    assert call(capsys, "baseline", "knn", "--data", "/nowhere")[0] == DataError.exit_status


def test_a_limit_above_what_there_is_gets_a_notice(capsys):
    _, out, err = call(capsys, "baseline", "linear", "--data", "digits", "--limit", 5000, "--json")
    assert json.loads(out)["notices"] == [
        "a limit of 5,000: there are 1,438 images to train on, all are used"
    ]
    assert "a limit of 5,000" in err


def test_an_interrupt_leaves_the_rows_that_were_ready(monkeypatch, capsys):
    real = comparison.measure

    def interrupted(method, *others):
        if method.name == "linear":
            raise KeyboardInterrupt
        return real(method, *others)

    monkeypatch.setattr(comparison, "measure", interrupted)
    status, out, err = call(capsys, "baseline", "knn", "linear", "--data", "digits", "--json")
    document = json.loads(out)
    assert status == 130
    assert (list(rows(document)), document["notices"]) == (["knn"], ["interrupted"])
    assert "the table has what was ready" in err
    status, out, err = call(capsys, "baseline", "linear", "--data", "digits")
    assert (status, out) == (130, "")
    assert "nothing was ready" in err


@pytest.fixture
def heard():
    """SIGINT as in a terminal: what is started in the background ignores it."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


def test_an_interrupt_is_heard_while_a_solver_runs(heard):
    """The solver does not look up; the call comes back all the same."""
    over = threading.Event()
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    finished = []
    with pytest.raises(KeyboardInterrupt):
        solver.interruptible(lambda: finished.append(over.wait(60)))
    assert finished == []
    over.set()


# Without torch, whose import takes most of the time of the command.
BUSY = """
import signal
import numpy as np
from sklearn.svm import SVC
from concord.cli import baseline, solver

class Comparison:
    rivals, notices = ["knn"], []
    def rows(self):
        print("busy", flush=True)
        draws = np.random.default_rng(0)
        yield SVC(C=5, cache_size=200).fit(draws.random((5000, 784)), draws.integers(0, 2, 5000))

HEARS
whole = baseline._make_rows(Comparison())
print("whole:", whole)
solver.exit_interrupted()
"""


HEARS = {
    "Python": "signal.signal(signal.SIGINT, signal.default_int_handler)",
    "the command": "from concord.cli import signals; signals.listen()",
}


@pytest.mark.parametrize("who", HEARS)
def test_an_interrupt_amid_libsvm_ends_the_process_cleanly(who):
    """Noise without any class in it keeps the solver busy for a minute."""
    command = [sys.executable, "-c", BUSY.replace("HEARS", HEARS[who])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "busy\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "whole: False\n")
    assert err == "concord: interrupted; the table has what was ready\n"


def test_what_a_thread_raises_comes_through():
    with pytest.raises(ZeroDivisionError):
        solver.interruptible(lambda: 1 // 0)
    assert solver.interruptible(lambda: 7) == 7
