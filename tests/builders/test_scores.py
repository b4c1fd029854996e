"""Scores of released files: whole numbers of their scale, one for each site, agreed on by all entries."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax import anatomy
from ramjax.io.errors import ReleaseError
from tfds_builders import joints
from tfds_builders.ram_w600 import reading

ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.lists(st.integers(0, 5), max_size=2),
    st.sampled_from([10**400, "1_0", "0_3", "2,0", "３", "nan", "1e0", " 3 ", "3.0", "NA", "\x001", 2.0, "9" * 5000]),
)  # fmt: skip


@given(ODD)
def test_a_score_is_a_whole_number_of_its_scale_or_named(value):
    try:
        score = joints.read_score(value, "be", "MCP-T", "file, hand, BE_MCP-T")
    except ReleaseError as error:
        assert str(error).startswith("file, hand, BE_MCP-T is ") and str(error).isprintable() and len(str(error)) < 160
        assert isinstance(value, bool) or value not in range(6)
    else:
        assert score in range(6) and type(score) is int and not isinstance(value, bool)
        assert score == (float(value) if isinstance(value, str) else value)


@pytest.mark.parametrize(("text", "score"), [(" 3 ", 3), ("3.0", 3), ("1e0", 1), ("+2", 2)])
def test_scores_as_text(text, score):
    assert joints.read_score(text, "jsn", "MCP-T", "here") == score


@pytest.mark.parametrize("text", ["1_0", "0_3", "2,0", "３", "", "nan", "0x1", "1 2", "½"])
def test_text_that_only_some_readers_take_for_a_number_is_none(text):
    with pytest.raises(ReleaseError, match=r"whole number in 0\.\.5"):
        joints.read_score(text, "be", "MCP-T", "here")


SITES = [anatomy.SITE_NAMES[number] for number in anatomy.SCALES["be"][1]]


@given(
    st.dictionaries(
        st.sampled_from("abc"),
        st.lists(st.dictionaries(st.sampled_from(SITES), st.integers(0, 5)), min_size=1, max_size=3),
    )
)
def test_a_site_has_the_score_that_all_its_entries_state(entries):
    scores, findings = joints.agreed(entries, "be")
    said = {}
    for finding in findings:
        said.setdefault(finding.what, set()).add(finding.where)
    for stem, several in entries.items():
        for site in SITES:
            stated = {entry[site] for entry in several if site in entry}
            assert scores.get(stem, {}).get(site) == (stated.pop() if len(stated) == 1 else None)
            differ = f"{stem} {site}" in said.get("BE scores that differ between two entries, left out", ())
            assert differ == (len({entry[site] for entry in several if site in entry}) > 1)
            missing = f"{stem} {site}" in said.get("sites without a BE score", ())
            assert missing == (stem in scores and not any(site in entry for entry in several))
        assert (stem in scores) != (stem in said.get("radiographs without any BE score", ()))


def read(tmp_path, content: str):
    amiss = []
    (tmp_path / "scores.json").write_text(content)
    return reading._read_score_file(tmp_path / "scores.json", amiss), {(f.what, f.where) for f in amiss}


def test_wrists_that_are_there_twice_keep_what_agrees(tmp_path):
    whole = {"Metacarpal1st": 0, "Trapzium": 1, "Scaphoid": 2, "Lunate": 3, "DistalRadius": 4, "DistalUlna": 5}
    entries = [
        {"identifier": "a", "joints": whole},
        {"identifier": "a", "joints": {"Lunate": 0, "Scaphoid": 2}},
        {"identifier": "b", "joints": {**whole, "Trapezium": 2}},
        {"identifier": "c", "joints": {}},
        {"identifier": "d", "joints": {"Ulna": 1}},
    ]
    scores, amiss = read(tmp_path, json.dumps(entries))
    sound = {"CMC-T": 0, "Tm": 1, "S": 2, "L": 3, "R": 4, "U": 5}
    assert scores == {
        "a": {site: score for site, score in sound.items() if site != "L"},
        "b": {site: score for site, score in sound.items() if site != "Tm"},
        "d": {"U": 1},
    }
    differ, none = "BE scores that differ between two entries, left out", "radiographs without any BE score"
    assert amiss == {
        (differ, "scores.json a L"), (differ, "scores.json b Tm"), (none, "scores.json c"),
        *(("sites without a BE score", f"scores.json d {site}") for site in sound if site != "U"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{}", "must be a list of identifier and joints"),
        ("[7]", "not 7"),
        ('[{"identifier": 7, "joints": {}}]', "must be a list of identifier"),
        ('[{"identifier": "a", "joints": [["Lunate", 1]]}]', "must be a list of identifier"),
        ('[{"identifier": "a", "joints": {"Lunate": 1, "Lunate": 2}}]', "'Lunate' is there twice, as 1 and 2"),
        ('[{"identifier": "a", "joints": {"Lunate": NaN}}]', "a, Lunate is nan"),
    ],
)
def test_score_files_of_another_form_are_named(tmp_path, content, words):
    with pytest.raises(ReleaseError) as error:
        read(tmp_path, content)
    assert str(tmp_path / "scores.json") in str(error.value) and words in str(error.value)
