"""A pair of members for data of which none were named."""

import pytest
from data_made import write_image
from run_made import Noted, call

from concord.errors import DataError, UsageError
from concord.runs.default_members import with_members


def photos(folder, side):
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            write_image(folder / name / f"{i}.png", i, size=(side, side))
    return str(folder)


@pytest.mark.parametrize(
    ("side", "pair"), [(64, ["noel2017_st", "noel2017_m"]), (65, ["mobilenet_v2", "resnet18"])]
)
def test_the_pair_depends_on_the_longer_side_of_the_pictures(side, pair, tmp_path):
    noted = Noted()
    tables = with_members({"data": {"source": photos(tmp_path / "p", side)}, "train": {"epochs": 1}}, noted)
    assert [member["network"] for member in tables["members"]] == pair
    assert tables["train"] == {"epochs": 1}
    (text,) = noted.notices
    assert f"{side}x{side} pixels" in text


def test_members_that_are_named_are_kept_and_nothing_is_read():
    tables = {"data": {"source": "nowhere"}, "members": [{"name": "a", "network": "resnet18"}]}
    assert with_members(tables) == tables


def test_the_command_trains_them_and_says_so(tmp_path, capsys):
    line = ["train", "--epochs", 1, "--set", "train.threads=1", "--set", "data.limit=60"]
    status, out, err = call(capsys, *line, "--out", tmp_path / "run")
    assert status == 0
    assert "no members were named: noel2017_st and noel2017_m are trained" in err
    assert "noel2017_m " in out


def test_wrong_settings_and_data_are_refused_as_ever(tmp_path):
    with pytest.raises(UsageError, match=r"data.vali: unknown key"):
        with_members({"data": {"vali": 0.1}})
    with pytest.raises(DataError, match="nowhere"):
        with_members({"data": {"source": str(tmp_path / "nowhere")}})
