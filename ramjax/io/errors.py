"""The error of released data sets."""

from ramjax.errors import UserError


class ReleaseError(UserError, ValueError):
    """A release cannot be trusted or cannot be downloaded; the message names the file, the key and the remedy."""
