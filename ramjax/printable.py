"""Text that may hold anything, such as a file's name, made fit for a terminal, a table and a page."""

import re
import unicodedata

_ODD_BYTES = re.compile("[\udc80-\udcff]+")
_CONTROLLING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories: controls, invisible formats such as changes of direction, lone surrogates, line separators."""


def printable(text: str, keep: str = "") -> str:
    """`text` on one line, with everything that could control a terminal or hide something escaped: ``\\x1b``.

    Bytes of a file's name that are not UTF-8, which Python holds as lone surrogates, are escaped too: ``\\xf6``.

    Args:
      text: of any letters.
      keep: letters that stay as they are, such as a line feed.
    """
    return "".join(_escaped(letter) if controls(letter) and letter not in keep else letter for letter in decoded(text))


def controls(letter: str) -> bool:
    """Whether a letter is none that can be seen, or is half of one."""
    return unicodedata.category(letter) in _CONTROLLING


def decoded(text: str) -> str:
    """The name of a file as it is in a locale of UTF-8; in a C locale Python holds all other letters as surrogates."""
    return _ODD_BYTES.sub(
        lambda odd: odd[0].encode("ascii", "surrogateescape").decode("utf-8", "surrogateescape"), text
    )


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode("ascii")
