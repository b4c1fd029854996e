"""Names and messages that may hold anything."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ramjax.printable import decoded, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("R\xf6ntgen 手.png", "R\xf6ntgen 手.png"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\tc\u2028d", "a\\nb\\tc\\u2028d"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        (b"R\xf6ntgen".decode("utf-8", "surrogateescape"), "R\\xf6ntgen"),
        ("R\xf6ntgen".encode().decode("ascii", "surrogateescape"), "R\xf6ntgen"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_controls_or_hides_is_escaped(text, shown):
    assert printable(text) == shown


def test_a_line_feed_can_stay():
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"


@given(st.text(st.characters()))
def test_any_text_can_be_written_and_stays_on_its_line(text):
    shown = printable(text)
    shown.encode()
    assert shown.splitlines() in ([shown], []) and printable(shown) == shown
    assert not any(unicodedata.category(letter).startswith("Cc") for letter in shown)


@given(st.binary(max_size=40))
def test_a_name_is_the_same_in_a_c_locale(name):
    utf8, ascii_ = name.decode("utf-8", "surrogateescape"), name.decode("ascii", "surrogateescape")
    assert decoded(ascii_) == decoded(utf8) == utf8
