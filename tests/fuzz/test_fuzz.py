"""No damaged or odd file crashes, hangs, fills the memory, ends in a traceback, or is silently read as another."""

import pytest

from tests.fuzz.formats import FORMATS
from tests.fuzz.run import fuzz
from tests.fuzz.trying import FORBIDDEN

COUNT = 150
"""Files of each format; `python -m tests.fuzz.run` tries thousands."""


@pytest.mark.parametrize("name", FORMATS)
def test_no_damaged_file_is_worse_than_refused(name, tmp_path):
    tried = list(fuzz(name, COUNT, 0, tmp_path))
    assert [one.index for one in tried] == list(range(COUNT))
    assert [one for one in tried if one.outcome in FORBIDDEN] == []
