import logging
import os
import pathlib
import subprocess
import sys

from ramjax.logs import logging_to


def test_the_log_tells_people_and_the_file(tmp_path, capsys):
    log = logging.getLogger("ramjax.test")
    with logging_to(tmp_path / "log.txt"):
        log.debug("detail")
        log.info("hello")
        log.warning("careful")
        logging.getLogger("absl").warning("chatter")
    log.info("after")
    shown = capsys.readouterr()
    assert shown.out == "hello\n"
    assert shown.err == "Warning: careful\n"
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines] == ["detail", "hello", "careful"]


def test_what_is_told_does_not_control_the_terminal(tmp_path, capsys):
    odd = pathlib.Path("a\n\x1b[2J") / "\udcf6"
    with logging_to(tmp_path / "log.txt"):
        logging.getLogger("ramjax.test").info("In %s:\n%s", odd, "a table\nof two lines \x1b")
    assert capsys.readouterr().out == "In a\\n\\x1b[2J/\\xf6:\na table\nof two lines \\x1b\n"
    assert (tmp_path / "log.txt").read_text().endswith("of two lines \\x1b\n")


LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def test_a_c_locale_gets_escapes_and_a_file_in_utf8(tmp_path):
    program = (
        "import logging, sys, pathlib; from ramjax import logs; logs.print_in_any_locale()\n"
        "with logs.logging_to(pathlib.Path(sys.argv[1])): logging.getLogger('ramjax').info('R\\xf6ntgen')"
    )
    log = tmp_path / "log.txt"
    done = subprocess.run([sys.executable, "-c", program, log], env=os.environ | LOCALE, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"R\\xf6ntgen\n", b"")
    assert log.read_text(encoding="utf-8").endswith("R\xf6ntgen\n")


def test_other_processes_tell_people_of_warnings_alone_and_write_no_file(tmp_path, capsys):
    with logging_to(tmp_path / "log.txt", first=False):
        logging.getLogger("ramjax.test").info("hello")
        logging.getLogger("ramjax.test").warning("careful")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Warning: careful\n") and not (tmp_path / "log.txt").exists()
