"""Where the log of `ramjax` goes: to the console, and with times and tracebacks to a file."""

import contextlib
import io
import logging
import pathlib
import sys
from collections.abc import Iterator

from tqdm import tqdm

from ramjax.printable import printable


@contextlib.contextmanager
def logging_to(path: pathlib.Path | None, *, first: bool = True) -> Iterator[None]:
    """Sends the log of `ramjax` to the console and, with times and tracebacks, to `path`; other packages' warnings too.

    Messages of level DEBUG go to the file only. Of several processes, only the `first` writes a file; the others show
    warnings only.
    """
    logger, root = logging.getLogger("ramjax"), logging.getLogger()
    console = _Console(logging.INFO if first else logging.WARNING)
    handlers: list[tuple[logging.Logger, logging.Handler]] = [(logger, console)]
    if path is not None and first:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(_Printable("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append((root, file))
    else:
        handlers.append((root, logging.NullHandler()))
    # What others put on the root logger to print to the terminal would print every message twice.
    printing = [handler for handler in root.handlers if getattr(handler, "stream", None) in (sys.stdout, sys.stderr)]
    for handler in printing:
        root.removeHandler(handler)
    level, logger_level, raising = root.level, logger.level, logging.raiseExceptions
    logging.raiseExceptions = False  # a full disk stops the run where results are written, not in its log
    root.setLevel(logging.WARNING)
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns of what is meant
    logger.setLevel(logging.DEBUG)
    for where, handler in handlers:
        handler.addFilter(_with_paths_on_a_line)
        where.addHandler(handler)
    try:
        yield
    finally:
        for where, handler in handlers:
            where.removeHandler(handler)
            with contextlib.suppress(OSError):  # as above: what ended the run is not that its log could not be closed
                handler.close()
        for handler in printing:
            root.addHandler(handler)
        logging.raiseExceptions = raising
        root.setLevel(level)
        logger.setLevel(logger_level)


def print_in_any_locale() -> None:
    """Lets stdout and stderr escape letters that the terminal's encoding does not have, such as in a C locale."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _with_paths_on_a_line(record: logging.LogRecord) -> bool:
    """Escapes line feeds in paths; those of texts, such as tables, stay. Keeps every record."""
    if isinstance(record.args, tuple):
        record.args = tuple(printable(str(of)) if isinstance(of, pathlib.PurePath) else of for of in record.args)
    return True


class _Printable(logging.Formatter):
    """Escapes what would control the terminal of who reads the log."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t")


class _Console(logging.Handler):
    """Messages for people, above any progress bar: warnings on stderr, the rest on stdout, no tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        warning = record.levelno >= logging.WARNING
        message = printable(record.getMessage(), keep="\n\t")
        text = f"Warning: {message}" if record.levelno == logging.WARNING else message
        with contextlib.suppress(OSError):  # a run goes on where nobody reads it, or the disk under it is full
            tqdm.write(text, file=sys.stderr if warning else sys.stdout)
            (sys.stderr if warning else sys.stdout).flush()
