"""What groups of settings have in common: widths of a network, and paths of a user's own code."""

import keyword

from ramjax.typed import ConfigError


def is_dotted_path(text: str) -> bool:
    """Whether `text` can be ``package.module.Class``."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def check_width(name: str, width: int, below: int) -> None:
    """Raises ConfigError for a number of channels that group normalisation cannot divide into groups of 8."""
    if width < 1 or (width >= below and width % 8):
        raise ConfigError(f"{name} is {width}; it must be a multiple of 8, or 1 to {below - 1}.")
