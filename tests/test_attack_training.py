"""Training on attacked images: the settings, exact resume, and what it is good for."""

import pytest
import torch
from run_made import make_job, outcome, settings, train, train_in_parts
from torch import nn

from concord.attack.fgsm import fgsm
from concord.attack.gradient import away
from concord.data.batches import Normalise
from concord.errors import UsageError
from concord.runs import toml
from concord.runs.adversary import adversarial_of, step_size_of
from concord.runs.interface import Interface
from concord.runs.pixels import classifier, normalised, unit

FGSM = {"adversarial": {"kind": "fgsm", "eps": 0.1}}
PGD = {"adversarial": {"kind": "pgd", "eps": 0.5, "norm": "l2", "steps": 3}}
VARIANTS = {
    "fgsm": FGSM,
    "pgd": PGD,
    "pgd, alternating": PGD | {"train__update": "alternating"},
    "fgsm, own batches": FGSM | {"train__batches": "own", "augment__shift": 1},
    "pgd, views in bfloat16": PGD
    | {"train__batches": "views", "augment__shift": 1, "train__precision": "bfloat16"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_training_stopped_again_and_again_ends_bit_for_bit_where_one_run_ends(name, tmp_path):
    tables = settings(**VARIANTS[name])
    train(tmp_path / "whole", tables)
    assert train_in_parts(tmp_path / "parts", tables, polls=4) > 1
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    train(tmp_path / "without", settings(**{k: v for k, v in VARIANTS[name].items() if k != "adversarial"}))
    assert outcome(tmp_path / "without") != outcome(tmp_path / "whole")


def test_weight_zero_trains_every_member_as_if_alone(tmp_path):
    both = settings(**PGD, consensus__weight=0.0)
    train(tmp_path / "both", both)
    job = make_job(tmp_path / "alone", both | {"members": both["members"][1:], "consensus": {}}, starts=1)
    from concord.training.fit import fit

    list(fit(job))
    _, together, _ = outcome(tmp_path / "both")
    _, alone, _ = outcome(tmp_path / "alone")
    assert together["member-m1.safetensors"] == alone["member-m1.safetensors"]


@pytest.mark.parametrize(
    "adversarial", [FGSM["adversarial"], PGD["adversarial"] | {"norm": "linf", "eps": 0.2}]
)
def test_the_adversary_of_a_run_stays_near_the_pixels_and_climbs(adversarial, tmp_path):
    job = make_job(tmp_path, settings(adversarial=adversarial))
    interface = Interface.from_plain(job.store.folder.json("interface.json"))
    network = job.members["m0"].eval()
    (x,), (y,), *_ = next(job.feed.train(0, 0))
    loss = away(network, y)
    changed = job.adversarial.craft(0, loss, x, 7)
    mean, std = (torch.tensor(v) / 255 for v in (interface.normalise.mean, interface.normalise.std))
    before, after = x * std + mean, changed * std + mean
    assert (after - before).abs().max().item() == pytest.approx(adversarial["eps"], abs=1e-5)
    assert after.min() > -1e-6
    assert after.max() < 1 + 1e-6
    assert (loss(changed) > loss(x)).float().mean() > 0.9
    assert torch.equal(job.adversarial.craft(0, loss, x, 7), changed)
    random = adversarial["kind"] == "pgd"
    assert torch.equal(job.adversarial.craft(0, loss, x, 8), changed) != random
    assert torch.equal(job.adversarial.craft(1, loss, x, 7), changed) != random


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("l2", 0.3)])
def test_in_colour_the_ball_is_one_of_pixels_though_each_channel_has_its_own_scale(norm, eps):
    interface = Interface((3, 4, 4), ("0", "1", "2"), Normalise((30.0, 120.0, 200.0), (10.0, 60.0, 90.0)))
    adversarial = {"kind": "pgd", "eps": eps, "norm": norm, "steps": 6}
    config = toml.parse({"members": [{"name": "m0", "network": "noel2017_st"}], "adversarial": adversarial})
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 5), nn.Tanh(), nn.Linear(5, 3))
    pixels, y = torch.randint(64, 192, (8, 3, 4, 4), dtype=torch.uint8), torch.arange(8) % 3
    mean, std = (torch.tensor(v).view(3, 1, 1) / 255 for v in ((30.0, 120, 200), (10.0, 60, 90)))
    x = (unit(pixels) - mean) / std
    loss = away(network, y)
    changed = adversarial_of(config, interface).craft(0, loss, x, 0)
    moved = (changed * std + mean - unit(pixels)).flatten(1)
    size = moved.norm(dim=1) if norm == "l2" else moved.abs().amax(1)
    assert size.tolist() == pytest.approx([eps] * 8, rel=1e-4)  # on the border, measured in pixels
    assert (loss(changed) > loss(x)).all()


def test_a_kind_where_a_table_belongs_is_refused_with_the_way_out():
    tables = {"members": [{"name": "m0", "network": "noel2017_st"}], "adversarial": "fgsm"}
    way_out = "adversarial is a table: adversarial.kind=fgsm, adversarial.eps=0.1"
    with pytest.raises(UsageError, match=way_out) as caught:
        toml.parse(tables)
    assert "discriminator" not in str(caught.value)
    assert "valid dictionary" not in str(caught.value)


def test_without_the_setting_there_is_no_adversary(tmp_path):
    assert make_job(tmp_path).adversarial is None


def test_images_of_zero_to_one_meet_the_network_as_stored_pixels_do():
    from run_made import splits

    normalise = Interface.of(splits()).normalise
    pixels = splits().test.pixels
    torch.testing.assert_close(normalised(normalise, unit(pixels)), normalise(pixels), rtol=0, atol=1e-5)
    x = unit(pixels).requires_grad_()
    classifier(lambda images: images.flatten(1), normalise)(x).sum().backward()
    assert x.grad.unique().item() == pytest.approx(255 / normalise.std[0])


def test_the_steps_reach_the_border_from_anywhere():
    assert step_size_of(0.3, 5, None) == pytest.approx(0.15)
    assert step_size_of(0.3, 5, 0.01) == 0.01


def error_under_fgsm(folder, eps):
    from concord.runs.loading import load_run, same_data

    run = load_run(folder)
    test = same_data(run, None)[0].test
    network = classifier(run.members["net"].eval(), run.interface.normalise)
    x = unit(test.pixels)
    changed = fgsm(away(network, test.labels), x, eps)
    return [(network(images).argmax(1) != test.labels).float().mean().item() for images in (x, changed)]


def test_on_digits_the_error_under_attack_falls_by_far(tmp_path):
    from concord.api.train import train as train_run

    tables = {
        "members": [{"name": "net", "network": "noel2017_st"}],
        "train": {
            "epochs": 5,
            "threads": 1,
            "precision": "float32",
            "optimizer": {"kind": "adam", "lr": 0.004},
        },
    }
    train_run(tables, tmp_path / "plain")
    train_run(tables | {"adversarial": {"eps": 0.1}}, tmp_path / "hardened")
    (clean, attacked), (hard_clean, hard_attacked) = (
        error_under_fgsm(tmp_path / name, 0.1) for name in ("plain", "hardened")
    )
    assert hard_clean < clean + 0.05
    assert attacked > 0.3
    assert hard_attacked < attacked / 2
