"""Errors a user can do something about: each is one sentence that names what is wrong and the remedy."""

import errno


class RunError(RuntimeError):
    """A run that cannot start or go on; its message is meant for people."""


def is_disk_full(error: BaseException) -> bool:
    """Whether `error`, or what caused it, says that the disk or the quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(error) or "Disk quota exceeded" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
