import dataclasses
from typing import Any, Literal

import pytest

from ramjax.typed import ConfigError, UnknownKeyError, build, check


@dataclasses.dataclass(frozen=True)
class Side:
    weight: float = 1.0
    names: tuple[str, ...] = ("L", "R")

    def __post_init__(self):
        check(self, "weight", least=0)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a task of a user's own may need: a key without default among them."""

    classes: int
    kind: Literal["hard", "soft"] = "soft"
    side: Side = Side(weight=2.0)
    more: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    anything: Any = None


def test_what_is_not_stated_has_its_default():
    assert build(Settings, {"classes": 3}) == Settings(3, "soft", Side(2.0, ("L", "R")), {}, {}, None)
    assert build(Settings, {"classes": 3, "side": {"names": ["a"]}}).side == Side(1.0, ("a",))  # the default of `Side`
    assert build(Side, {}) == Side()


def test_dicts_are_kept_as_given_with_lists_as_tuples():
    more = {"a": {"x": [1, [2.5, None]], "y": {"z": True, "w": []}}, "b": {}}
    built = build(Settings, {"classes": 1, "more": more, "counts": {"n": 3}, "anything": ["x", {"k": [1]}]})
    assert built.more == {"a": {"x": (1, (2.5, None)), "y": {"z": True, "w": ()}}, "b": {}}
    assert built.counts == {"n": 3} and built.anything == ("x", {"k": (1,)})
    assert type(built.more["a"]["y"]["z"]) is bool and type(built.more["a"]["x"][0]) is int
    more["a"]["y"]["z"] = False
    assert built.more["a"]["y"]["z"] is True  # a copy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"^Missing config key own\.sides\.classes; it has no default, so state it\.$"),
        ({"classes": 1, "clases": 2}, r"^Unknown config key own\.sides\.clases; known here: classes, kind, side, more"),
        ({"classes": 1, "side": {"wieght": 2}}, r"^Unknown config key own\.sides\.side\.wieght; known here: weight, n"),
        ({"classes": 1, "side": {"weight": -1.0}}, r"^own\.sides\.side\.weight is -1\.0; it must be finite and 0"),
        ({"classes": 1, "kind": "soft "}, r"^own\.sides\.kind is 'soft '; use one of 'hard', 'soft'\.$"),
        ({"classes": 1.0}, r"^own\.sides\.classes is 1\.0 \(float\); it must be int\.$"),
        ({"classes": 1, "more": 3}, r"^own\.sides\.more is 3; a group of keys is needed\.$"),
        ({"classes": 1, "more": {"a": 3}}, r"^own\.sides\.more\.a is 3; a group of keys is needed\.$"),
        ({"classes": 1, "more": {"a": {"b": [0, {1}]}}}, r"^own\.sides\.more\.a\.b\[1\] is \{1\} \(set\); it must be"),
        ({"classes": 1, "more": {"a": {"b": float("nan")}}}, r"^own\.sides\.more\.a\.b is nan \(float\); .*finite"),
        ({"classes": 1, "more": {"a": {2: 0}}}, r"^own\.sides\.more\.a has the key 2; a key is text without a dot\.$"),
        ({"classes": 1, "more": {"a.b": {}}}, r"^own\.sides\.more has the key 'a\.b'; a key is text without a dot\.$"),
        ({"classes": 1, "counts": {"n": 0.5}}, r"^own\.sides\.counts\.n is 0\.5 \(float\); it must be int\.$"),
        ([1], r"^own\.sides is \[1\]; a group of keys is needed: classes, kind"),
    ],
)
def test_settings_of_a_users_own_are_refused_by_their_path(values, message):
    with pytest.raises(ConfigError, match=message):
        build(Settings, values, "own.sides")


def test_an_unknown_key_is_told_by_its_path():
    with pytest.raises(UnknownKeyError) as caught:
        build(Settings, {"classes": 1, "side": {"wieght": 2}}, "own.sides")
    assert caught.value.key == "own.sides.side.wieght"
