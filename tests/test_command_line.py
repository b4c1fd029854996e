import errno

import pytest

from ramjax.command_line import explain
from ramjax.config import ConfigError
from ramjax.training.errors import RunError


def caused(error, cause):
    error.__cause__ = cause
    return error


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("All is lost; try again."), "All is lost; try again."),
        (ConfigError("seed is -1; it must be 0 or above."), "seed is -1; it must be 0 or above."),
        (FULL, "The disk is full; make room and start the same command again."),
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b.json"),
            "The disk of /a/b.json is full; make room and start the same command again.",
        ),
        (caused(OSError("The data cannot be made in /d: full; name another"), FULL),
         "The data cannot be made in /d: full; name another."),
        (
            PermissionError(errno.EACCES, "Permission denied", "/a/b.json"),
            "/a/b.json cannot be written or read: permission denied; mend that, or name another folder.",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "/a/b"),
            "/a/b cannot be written or read: not a directory; mend that, or name another folder.",
        ),
        (KeyError("two words"), "KeyError: two words. --debug shows where."),
        (ValueError(), "ValueError: ValueError. --debug shows where."),
    ],
)  # fmt: skip
def test_errors_are_one_sentence(error, text):
    assert explain(error) == text
    assert "None" not in text


def test_a_refusal_without_a_file_names_none():
    assert "None" not in explain(PermissionError(errno.EPERM, "Operation not permitted"))
