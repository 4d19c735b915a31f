import pytest

from concord.cli.options import code_named, mark_pretrained, member_tables, tables_of
from concord.errors import UsageError, amount


def names(text):
    return [(t["name"], t["network"]) for t in member_tables(text)]


def test_members_are_named_after_their_networks_unless_a_name_is_given():
    assert names("ST=noel2017_st, timm/resnet10t,mine.nets:small") == [
        ("ST", "noel2017_st"),
        ("resnet10t", "timm/resnet10t"),
        ("small", "mine.nets:small"),
    ]


def test_equal_networks_are_numbered():
    assert [name for name, _ in names("noel2017_st,noel2017_st,noel2017_st")] == [
        "noel2017_st",
        "noel2017_st-2",
        "noel2017_st-3",
    ]


def test_commas_and_equal_signs_in_brackets_belong_to_the_network():
    text = "noel2017_st(filters=4,bricks=2),w=noel2017_m(filters=8)"
    assert names(text) == [("noel2017_st", "noel2017_st(filters=4,bricks=2)"), ("w", "noel2017_m(filters=8)")]


def test_no_members_are_refused():
    with pytest.raises(UsageError, match="at least one network"):
        member_tables(" , ")


def test_settings_win_over_options_and_options_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("[train]\nepochs = 1\nseed = 1\nbatch_size = 1\n")
    flags = [("train.seed", 2), ("train.batch_size", 2), ("train.epochs", None)]
    tables = tables_of(file, "noel2017_st", flags, ["train.batch_size=3"])
    assert tables["train"] == {"epochs": 1, "seed": 2, "batch_size": 3}


def test_numbers_and_nouns_agree():
    assert [amount(n, "image") for n in (0, 1, 2, 2000)] == [
        "0 images",
        "1 image",
        "2 images",
        "2,000 images",
    ]


def test_only_code_that_was_typed_is_allowed():
    tables = {"members": [{"name": "a", "network": "evil:net"}]}
    assert code_named(tables, None) == []
    assert code_named({"members": member_tables("mine:net,noel2017_st")}, "mine:net,noel2017_st") == [
        "mine:net"
    ]


def test_pretrained_marks_the_members_that_are_named():
    members = member_tables("small=noel2017_st,big=resnet18")
    mark_pretrained(members, ["big"])
    assert members == [
        {"name": "small", "network": "noel2017_st"},
        {"name": "big", "network": "resnet18", "pretrained": True},
    ]
    with pytest.raises(
        UsageError, match=r"--pretrained bgi: no member has that name \(did you mean 'big'\?\)"
    ):
        mark_pretrained(members, ["bgi"])
