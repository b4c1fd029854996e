"""What groups of settings have in common: widths of a network, and paths of a user's own code."""

import keyword

from ramjax.typed import ConfigError

WIDTH_MAX = 2**16
"""Of channels; a layer of twice as many at either end has more weights than 32 bits can count."""


def is_dotted_path(text: str) -> bool:
    """Whether `text` can be ``package.module.Class``."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() and not keyword.iskeyword(part) for part in parts)


def check_width(name: str, width: int, below: int) -> None:
    """Raises ConfigError for a number of channels that group normalisation cannot divide into groups of 8."""
    if not 1 <= width <= WIDTH_MAX or (width >= below and width % 8):
        raise ConfigError(f"{name} is {width}; it must be a multiple of 8 up to {WIDTH_MAX}, or 1 to {below - 1}.")
