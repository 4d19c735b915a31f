"""The presets of ``concord study``, and that those of Noel 2017 are its 39 ensembles by its protocol."""

import pytest

import concord
from concord.errors import DataError, UsageError
from concord.report.noel2017 import FINAL, METHODS
from concord.runs import toml
from concord.studies.preset import PRESETS, preset
from concord.studies.study import planned

NOEL = sorted(FINAL)
# what differs between the data sets: epochs, and whether official parts are pooled and shuffled
PROTOCOL = {"mnist": (30, True), "notmnist": (15, False), "cifar10": (30, False)}


@pytest.fixture
def plan(tmp_path):
    return lambda name: planned(tmp_path, preset(name))


@pytest.mark.parametrize("dataset", NOEL)
def test_a_seed_has_the_13_ensembles_of_the_published_table(dataset, plan):
    varied, cells = plan(f"noel2017_{dataset}")
    rows = [(METHODS[cell.cost], cell.weight) for cell in cells if cell.seed == varied.seeds[0]]
    assert len(rows) == 13
    assert set(rows) == set(FINAL[dataset])
    assert len(cells) == 13 * 5
    assert "sce" not in {cell.cost for cell in cells}  # the gradient of his TensorFlow is that of sce_tf1
    assert varied.published == dataset


@pytest.mark.parametrize("dataset", NOEL)
def test_every_ensemble_is_trained_as_the_author_did(dataset, plan):
    _, cells = plan(f"noel2017_{dataset}")
    epochs, joint = PROTOCOL[dataset]
    for config in (cell.config for cell in cells):
        assert [(m.name, m.network) for m in config.members] == [("ST", "noel2017_st"), ("M", "noel2017_m")]
        assert (config.data.joint, config.data.valid, config.data.limit) == (joint, 0.0, None)
        assert not any(config.augment.model_dump().values())
        train, optimizer = config.train, config.train.optimizer
        assert (train.epochs, train.batch_size, train.shuffle, train.batches) == (epochs, 64, False, "shared")
        assert (train.schedule, train.warmup, train.patience, train.clip) == ("halving_epochs", 0, None, None)
        assert (train.update, train.label_smoothing, train.test) == ("simultaneous", 0, "epoch")
        assert (optimizer.kind, optimizer.lr, optimizer.betas) == ("adam", 0.5**10, (0.9, 0.999))
        assert (optimizer.eps, optimizer.weight_decay, optimizer.decay) == (1e-8, 1e-4, "kernels")
    pulled = [cell.config.consensus for cell in cells if cell.weight]
    assert {(c.edges, c.scale, c.schedule.kind) for c in pulled} == {("chain", "noel", "constant")}


def test_there_are_39_ensembles():
    assert sum(len(rows) for rows in FINAL.values()) == 39
    assert set(PRESETS) == {"digits", *(f"noel2017_{dataset}" for dataset in FINAL)}


def test_the_demonstration_has_five_rows_of_six_seeds(plan):
    _, cells = plan("digits")
    rows = [(cell.cost, cell.weight) for cell in cells if cell.seed == 0]
    assert rows == [("none", 0.0), ("kl linear 1", 1.0), ("kl", 1.0), ("l2", 0.1), ("once", 1.0)]
    assert len(cells) == 30
    assert {(cell.config.data.limit, cell.config.unlabelled.source) for cell in cells} == {(100, "rest")}


def test_presets_do_not_change_each_other():
    preset("noel2017_mnist")["train"]["epochs"] = 1
    assert preset("noel2017_mnist")["train"]["epochs"] == 30
    assert preset("noel2017_notmnist")["data"] == {"source": "data/notmnist", "valid": 0.0, "joint": False}


@pytest.mark.parametrize("name", ["noel2017", "noel2017_mnits", "../digits"])
def test_no_other_preset_is_read(name):
    with pytest.raises(
        UsageError, match="there are: digits, noel2017_mnist, noel2017_notmnist, noel2017_cifar10"
    ):
        preset(name)


def test_the_name_without_a_data_set_is_answered_with_one():
    with pytest.raises(UsageError, match="did you mean 'noel2017_mnist'"):
        preset("noel2017")


def test_a_study_without_a_run_takes_another_command(tmp_path):
    """A preset names a folder of data that may not be here; the same command with --data is another study."""
    study = tmp_path / "study"
    study.mkdir()
    (study / "study.toml").write_text(toml.to_text(preset("noel2017_mnist")))
    wanted = preset("digits") | {"data": {"source": str(tmp_path / "nowhere")}}
    (study / "cells/one").mkdir(parents=True)
    (study / "cells/one/config.toml").touch()
    with pytest.raises(UsageError, match="holds another study"):
        concord.study(wanted, study, jobs=1)
    (study / "cells/one/config.toml").unlink()
    with pytest.raises(DataError, match=r"no file or folder .*nowhere"):
        concord.study(wanted, study, jobs=1)
