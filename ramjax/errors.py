"""Errors that a user can fix: each is one sentence that names what is wrong and the remedy."""

import errno
import re

from ramjax.printable import printable


class UserError(Exception):
    """An error whose message is meant for people as it stands."""


class RunError(UserError, RuntimeError):
    """A run that cannot start or continue; its message is meant for people."""


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, or its cause, is that the disk or the quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error`, or its cause, is that this machine, a device or a limit leaves too little memory."""
    while error is not None:
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if any(words in str(error) for words in ("RESOURCE_EXHAUSTED", "can't start new thread")):
            return True
        error = error.__cause__ or error.__context__
    return False


def explain(error: BaseException) -> str:
    """A failed run as one sentence for people: what is wrong, where, and the remedy."""
    return printable(_explain(error))


def _explain(error: BaseException) -> str:
    if isinstance(error, UserError):
        return str(error)
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    if is_out_of_memory(error):
        return (
            f"The memory does not suffice{notes}; lower data.batch_size, data.eval_batch_size or data.canvas, raise "
            "train.accumulation_steps, or end other programs. --debug shows where."
        )
    if isinstance(error, OSError) and error.errno is None:  # whoever raised it composed a sentence
        return sentence(error)
    where = getattr(error, "filename", None)
    if is_disk_full(error):
        of = f" of {where}" if where else ""
        return f"The disk{of} is full; make room and start the same command again."
    if isinstance(error, OSError) and where:
        reason = (error.strerror or type(error).__name__).lower()
        return f"{where} cannot be written or read: {reason}; fix that, or name another folder."
    return f"{type(error).__name__}{notes}: {sentence(error)} --debug shows where."


def sentence(error: BaseException) -> str:
    """The error's message on one line, with a full stop."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if "Traceback (most recent call last)" in text:  # ml_collections quotes the traceback of a config file
        text = text.strip().splitlines()[-1]
    if known := re.search(r'Did you mean "(.*?)" instead of "(.*?)"', text):
        text = f"unknown config key {known[2]!r}, did you mean {known[1]!r}?"
    elif unknown := re.fullmatch(r"['\"]+([^'\"\s]+)['\"]+", text):  # ml_collections found no name like it
        text = f"unknown config key {unknown[1]!r}."
    text = printable(" ".join(text.split())) or type(error).__name__
    return text if text.endswith((".", "?", "!")) else f"{text}."
