"""What tests of the command lines share."""

import subprocess


def assert_one_sentence(done: subprocess.CompletedProcess, code: int, *words: str) -> None:
    """The last line of stderr says it all, and there is no traceback."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(("Error: ", "Usage error: "))
    for word in words:
        assert word in last
