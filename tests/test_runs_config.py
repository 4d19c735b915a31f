"""The configuration: to TOML and back, strict, and with faults that say where and what to do."""

import tomllib
from contextlib import suppress
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel

import concord
from concord.errors import UsageError
from concord.runs import toml
from concord.runs.config import Config, Member
from concord.runs.config_consensus import Consensus
from concord.studies.settings import Study

MEMBER = {"name": "a", "network": "noel2017_st"}
PAIR = {"members": [MEMBER, {"name": "b", "network": "noel2017_m"}]}


def fault(tables):
    with pytest.raises(UsageError) as caught:
        toml.parse(tables, "run.toml")
    return str(caught.value)


# Round trip

positive = st.floats(0, 1e300, exclude_min=True)
fraction = st.floats(0, 1, exclude_max=True)
text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
names = st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True), min_size=1, max_size=4)
schedules = st.one_of(
    st.just({"kind": "constant"}),
    st.builds(lambda u: {"kind": "linear", "until": u}, st.floats(0, 1, exclude_min=True)),
    st.builds(lambda a, b: {"kind": "cosine", "start": a, "end": b}, st.floats(0, 9), st.floats(0, 9)),
    st.builds(
        lambda points, factor: {"kind": "piecewise", "points": [[p, factor] for p in sorted(set(points))]},
        st.lists(st.floats(0, 1), min_size=1, max_size=4),
        st.floats(0, 1e9),
    ),
)
optimizers = st.one_of(
    st.builds(lambda lr, m: {"kind": "sgd", "lr": lr, "momentum": m}, positive, fraction),
    st.builds(lambda lr, a, b: {"kind": "adamw", "lr": lr, "betas": [a, b]}, positive, fraction, fraction),
    st.builds(
        lambda lr, a, m: {"kind": "muon", "lr": lr, "adam_lr": a, "momentum": m}, positive, positive, fraction
    ),
)
adversaries = st.one_of(
    st.none(),
    st.builds(lambda eps, share: {"eps": eps, "share": share}, st.floats(0, 1), st.floats(0, 1)),
    st.builds(lambda eps, n: {"kind": "pgd", "norm": "l2", "eps": eps, "steps": n}, positive, st.just(5)),
)


@st.composite
def configurations(draw):
    called = sorted({name for name in draw(names) if name != "ensemble"}) or ["a"]
    m = len(called)
    edges = st.lists(st.lists(st.floats(0, 5), min_size=m, max_size=m), min_size=m, max_size=m)
    table = [[0.0 if i == j else w for j, w in enumerate(row)] for i, row in enumerate(draw(edges))]
    detach = draw(st.booleans() | st.just([[True] * m] * m))
    return {
        "data": {"source": draw(text), "valid": draw(fraction.filter(bool)), "seed": draw(st.integers())},
        "members": [{"name": name, "network": draw(text)} for name in called],
        "consensus": {
            "cost": "kl",
            "weight": draw(st.floats(0, 1e300)),
            "temperature": draw(st.none() | st.floats(0, 1e6, exclude_min=True)),
            "edges": draw(st.sampled_from(["chain", "mean"]) | st.just(table)),
            "detach": detach,
            "schedule": draw(schedules),
        },
        "unlabelled": draw(st.none() | st.just({"source": "noise", "batch_size": 3})),
        "adversarial": draw(adversaries),
        "train": {"optimizer": draw(optimizers), "clip": draw(st.none() | positive), "patience": 3},
    }


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configurations())
def test_a_configuration_written_and_read_again_is_equal(tables):
    config = toml.parse(tables)
    written = toml.to_toml(config)
    assert toml.parse(tomllib.loads(written)) == config
    assert toml.to_toml(toml.parse(tomllib.loads(written))) == written


def test_control_characters_and_quotes_in_a_path_survive_the_file(tmp_path):
    source = 'a "b"\\ \n\t\x00\x1b\x7f é 漢 \u2028'
    config = toml.parse(PAIR | {"data": {"source": source}})
    (tmp_path / "x.toml").write_text(toml.to_toml(config), encoding="utf-8")
    assert toml.parse(toml.read(tmp_path / "x.toml")).data.source == source


def test_bytes_that_are_no_text_are_refused_with_the_key():
    assert "data.source: a name that is not valid UTF-8" in fault(PAIR | {"data": {"source": "\udcff"}})


def test_an_adversary_is_fgsm_unless_it_is_said_to_be_another():
    assert toml.parse(PAIR).adversarial is None
    tables = dict(PAIR)
    toml.assign(tables, "adversarial.eps=0.2")
    assert toml.parse(tables).adversarial.model_dump() == {"kind": "fgsm", "eps": 0.2, "share": 0.5}
    toml.assign(tables, "adversarial.kind=pgd")
    assert toml.parse(tables).adversarial.steps == 7


@pytest.mark.parametrize(
    ("adversarial", "said"),
    [
        ({"steps": 3}, 'adversarial.steps: this belongs to kind = "pgd"'),
        ({"kind": "pdg"}, "adversarial.kind: must be one of 'fgsm', 'pgd', got 'pdg' (did you mean 'pgd'?)"),
        ({"eps": -0.1}, "adversarial.eps: must be at least 0, got -0.1"),
        ({"eps": 25.0}, "adversarial.eps: must be at most 1, got 25.0"),
        ({"kind": "pgd", "eps": 25.0}, "adversarial.eps is at most 1, the range of a pixel"),
        ({"kind": "pgd", "norm": "l1"}, "adversarial.norm: must be 'linf' or 'l2', got 'l1'"),
        ({"share": 1.5}, "adversarial.share: must be at most 1, got 1.5"),
        ({"epsilon": 0.1}, "adversarial.epsilon: unknown key (did you mean 'eps'?)"),
    ],
)
def test_what_describes_no_adversary_is_refused(adversarial, said):
    assert said in fault(PAIR | {"adversarial": adversarial})


# Unknown keys


def every_key(cls, path=()):
    """(path, name) of every setting, through lists, optional sections and unions."""
    for name, field in cls.model_fields.items():
        yield path, name
        for inner in sections(field.annotation):
            yield from every_key(inner, (*path, name))


def sections(annotation):
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in sections(part)]


def typos(name):
    """All that one slip of the finger makes of a name: a letter lost, doubled, exchanged, or wrong."""
    for i in range(len(name)):
        yield name[:i] + name[i + 1 :]
        yield name[:i] + name[i] + name[i:]
        yield name[:i] + "x" + name[i + 1 :]
        yield name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :]


KEYS = sorted({(*path, name) for cls in (Config, Study) for path, name in every_key(cls)})


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_a_slip_in_any_key_is_answered_with_the_key(key):
    *path, name = key
    cls = Study if key in {(*p, n) for p, n in every_key(Study)} else Config
    known = toml.known_keys(path, cls)
    for typo in set(typos(name)) - set(known) - {""}:
        assert toml.suggestion(typo, known) == f" (did you mean {name!r}?)", typo


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"trian": {}}, "trian: unknown key (did you mean 'train'?)"),
        ({"train": {"epoch": 3}}, "train.epoch: unknown key (did you mean 'epochs'?)"),
        ({"train": {"optimizer": {"lx": 1.0}}}, "train.optimizer.lx: unknown key (did you mean 'lr'?)"),
        (
            {"train": {"optimizer": {"kind": "sgd", "learning_rate": 1.0}}},
            "train.optimizer.learning_rate: unknown key",
        ),
        ({"members": [MEMBER | {"net": "x"}]}, "members.0.net: unknown key (did you mean 'network'?)"),
        ({"unlabelled": {"sorce": "x"}}, "unlabelled.sorce: unknown key (did you mean 'source'?)"),
        ({"consensus": {"edges": "chian"}}, "(did you mean 'chain'?), got 'chian'"),
        ({"consensus": {"cost": "l3"}}, "consensus.cost: "),
        ({"train": {"optimizer": {"kind": "adm"}}}, "train.optimizer.kind: must be one of"),
        ({"train": {"optimizer": {"kind": "adm"}}}, "(did you mean 'adam'?)"),
        ({"consensus": {"schedule": {"until": 0.5}}}, "consensus.schedule.kind is missing"),
    ],
)
def test_a_wrong_name_is_answered_with_its_key_and_the_nearest(tables, key):
    message = fault(PAIR | tables)
    assert message.startswith("run.toml:")
    assert key in message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Config(members=["noel2017_st"]), "members.0: .*got 'noel2017_st'"),
        (lambda: Config(member=[]), r"member: unknown key \(did you mean 'members'\?\)"),
        (lambda: Consensus("l3", weight=1.0), r"cost: .*did you mean 'l2'"),
        (lambda: Member("st"), "network: is missing"),
        (lambda: concord.train("photos/"), r"config is a concord.Config or a mapping.*Config\(data="),
    ],
)
def test_records_made_in_python_are_refused_as_settings_are(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_every_fault_is_listed_at_once():
    message = fault({"members": [{"name": "a"}], "train": {"epochs": 0, "seed": "x"}, "dta": {}})
    assert [line.split(":")[0].strip() for line in message.splitlines()[1:]] == [
        "members.0.network",
        "train.epochs",
        "train.seed",
        "dta",
    ]


# Types and ranges

WRONG = {
    "train.optimizer.lr": ["0.1", True, float("nan"), float("inf"), 0.0, -1.0, None, [0.1]],
    "train.epochs": ["3", 3.5, True, 0, -1, 10**10, float("nan")],
    "train.seed": ["0", 0.5, True],
    "train.shuffle": [1, "true", 0.0],
    "train.device": ["gpu", "cuda:", "cpu\n", 0],
    "train.optimizer.betas": [[0.9], [0.9, 1.0], ["0.9", "0.9"], [0.9, 0.9, 0.9], 0.9, [0.9, float("nan")]],
    "train.threads": [0, 10**6],
    "data.valid": [1.0, -0.1, "0.1", float("nan")],
    "data.source": [3, "", True],
    "consensus.weight": [-1.0, float("nan"), float("inf"), "1"],
    "consensus.edges": ["web", [[0.0]], [[0.0, float("nan")], [1.0, 0.0]], [[0.0, 1.0]], [["a", "b"]], 3],
    "consensus.detach": [3, "yes", [[True]], [["a", "b"], [True, True]]],
    "consensus.schedule": [
        {"kind": "ramp"},
        {"kind": "linear"},
        {"kind": "linear", "until": 0.0},
        {"kind": "piecewise", "points": []},
        {"kind": "piecewise", "points": [[0.5, 1.0], [0.5, 2.0]]},
        {"kind": "piecewise", "points": [[0.5]]},
        {"kind": "piecewise", "points": [[0.0, float("inf")]]},
    ],
    "members": [[], {}, 3, [MEMBER, MEMBER], [{"name": "ensemble", "network": "x"}]],
    "train": [3, [], "x"],
}
NAMES = ["", "a/b", "../a", "a\n", ".a", "-a", "a b", "é", "a" * 61, "ensemble", 3, None]


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values], ids=repr
)
def test_types_are_strict_and_ranges_are_kept(key, value):
    tables = dict(PAIR)
    toml.put(tables, key, value)
    message = fault(tables)
    assert key.split(".")[-1] in message
    assert "literal[" not in message
    assert "list[" not in message
    assert "Input should" not in message
    assert "pattern" not in message


def test_a_number_that_python_will_not_print_is_refused_in_words():
    assert "got a number of too many digits" in fault(PAIR | {"train": {"epochs": 10**5000}})
    assert len(fault(PAIR | {"data": {"valid": "x" * 10_000}})) < 500


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_member_has_a_name_that_is_a_file_name(name):
    assert "name" in fault({"members": [{"name": name, "network": "x"}]})


@pytest.mark.parametrize(
    "tables",
    [
        {"consensus": {"weight": 0.1}},
        {"train": {"optimizer": {"kind": "sgd", "momentum": 0.0, "nesterov": True}}},
        {"consensus": {"cost": "l2", "weight": 0.1, "temperature": 2.0}},
        {"consensus": {"cost": "kl", "detach": False}, "train": {"update": "alternating"}},
        {"consensus": {"cost": "kdcl_naive", "weight": 1.0}, "unlabelled": {"source": "noise"}},
        {"consensus": {"edges": [[0.0, -1.0], [1.0, 0.0]]}},
        {"consensus": {"edges": [[1.0, 1.0], [1.0, 0.0]]}},
        {"consensus": {"edges": [[0.0], [1.0, 0.0]]}},
        {"consensus": {"detach": [[True]]}},
    ],
)
def test_settings_that_contradict_each_other_are_refused(tables):
    assert fault(PAIR | tables).startswith("run.toml: ")


def test_an_optimizer_without_a_kind_is_adam():
    config = toml.parse(PAIR | {"train": {"optimizer": {"lr": 0.5}}})
    assert (config.train.optimizer.kind, config.train.optimizer.lr) == ("adam", 0.5)


def test_a_piecewise_schedule_is_read_from_a_file():
    tables = tomllib.loads('consensus.schedule = {kind = "piecewise", points = [[0, 1], [0.5, 0.25]]}')
    assert toml.parse(PAIR | tables).consensus.schedule.points == [(0.0, 1.0), (0.5, 0.25)]


# Files


def deep(depth):
    return b"x = " + b"[" * depth + b"]" * depth


FILES = {
    "not toml": (b"[train\nepochs = 3", "line 1"),
    "second line": (b"[train]\nepochs = = 3", "line 2, column 10"),
    "twice": (b"[train]\nepochs = 3\nepochs = 4\nseed = 1\n", "line 3"),
    "table twice": (b"[train]\n[data]\n[train]\n", "line 3"),
    "NUL": (b"[train]\nseed = 1\x00", "line 2"),
    "deep": (deep(50_000), "nested too deeply"),
    "digits": (b"[train]\nseed = " + b"1" * 100_000, "too many digits"),
    "large": (b"#" * (2**20 + 1), "more than 1048576 bytes"),
    "latin": ("[data]\nsource = 'é'".encode("latin-1"), "not UTF-8 text (at line 2)"),
    "utf-16": ("[data]".encode("utf-16"), "not UTF-8 text (at line 1)"),
}


@pytest.mark.fault(19)
@pytest.mark.parametrize("name", FILES)
def test_a_bad_file_is_refused_with_its_name_and_the_place(name, tmp_path):
    content, place = FILES[name]
    file = tmp_path / "bad.toml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        toml.read(file)
    assert str(file) in str(caught.value)
    assert place in str(caught.value)
    assert "set_int_max_str_digits" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.toml: no such configuration file"):
        toml.read(tmp_path / "nowhere.toml")
    with pytest.raises(UsageError, match="is a folder; expected a TOML file of settings"):
        toml.read(tmp_path)


def test_an_endless_file_is_not_read_to_its_end():
    with pytest.raises(UsageError, match="more than 1048576 bytes"):
        toml.read(Path("/dev/zero"))


@pytest.mark.fault(19)
@hypothesis_settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_bytes(content)
    with suppress(UsageError):
        toml.parse(toml.read(file))


# --set


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.epochs=5", 5),
        ("train.optimizer.lr = 1e-3", 1e-3),
        ("data.source=photos/", "photos/"),
        ('data.source="a b"', "a b"),
        ("consensus.cost=l2", "l2"),
        ("data.source=x=y", "x=y"),
        ("data.source=", ""),
        ("train.shuffle=false", False),
        ("consensus.edges=[[0, 1], [1, 0]]", [[0, 1], [1, 0]]),
        ("data.source=1\ny = 2", "1\ny = 2"),
        ("data.source=" + "1" * 100_000, "1" * 100_000),
        ("data.source=" + "[" * 50_000, "[" * 50_000),
    ],
)
def test_set_takes_toml_or_a_bare_word(setting, value):
    tables = {}
    toml.assign(tables, setting)
    *path, last = setting.partition("=")[0].strip().split(".")
    for part in path:
        tables = tables[part]
    assert tables == {last: value}


@pytest.mark.parametrize("setting", ["train.epochs", "", "=5", " = 5"])
def test_set_without_key_or_value_is_refused_with_an_example(setting):
    with pytest.raises(UsageError, match=r"--set takes key=value, for example train\.epochs=5"):
        toml.assign({}, setting)


def test_set_cannot_go_through_a_value_or_a_list():
    for key in ("train.epochs.x", "members.0.name"):
        with pytest.raises(UsageError, match=r"is not a table of settings"):
            toml.put({"train": {"epochs": 3}, "members": [MEMBER]}, key, 1)


def test_differences_name_every_leaf():
    old = {"a": {"b": 1, "c": 2}, "d": [1], "e": None}
    assert toml.differences(old, {"a": {"b": 1, "c": 3}, "d": [1, 2], "f": 4}) == [
        "a.c: 2 -> 3",
        "d: [1] -> [1, 2]",
        "f: None -> 4",
    ]
