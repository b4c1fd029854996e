import logging

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


def test_other_processes_tell_people_of_warnings_alone_and_write_no_file(tmp_path, capsys):
    with logging_to(tmp_path / "log.txt", first=False):
        logging.getLogger("ramjax.test").info("hello")
        logging.getLogger("ramjax.test").warning("careful")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "Warning: careful\n") and not (tmp_path / "log.txt").exists()
