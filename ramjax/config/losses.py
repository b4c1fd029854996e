"""Names of the losses of masks, and how the settings write them: NAME, or NAME=WEIGHT.

The losses themselves are in `ramjax.losses`, whose table has the same names.
"""

import re

from ramjax.typed import ConfigError, check_number

WEIGHT_MAX = 1e9
"""Of a loss, so that a sum of weighted losses stays within single precision."""

OF_LABELS: tuple[str, ...] = ("ce", "dice_any")
"""Losses of labels that exclude each other, as erosions do; bones overlap."""

OF_MASKS: tuple[str, ...] = (
    "bce", "bce_area", "mse", "focal", "dice", "dice_squared", "dice_batch", "tversky", "focal_tversky", "lovasz",
    "lovasz_hinge", "boundary", "cldice",
)  # fmt: skip
"""Losses of masks, each for itself."""

COMBINATIONS: dict[str, tuple[str, ...]] = {
    "dice_bce": ("dice", "bce"),
    "dice_focal": ("dice", "focal"),
    "mse_bce_dice": ("mse", "bce", "dice_squared"),
    "dice_ce": ("dice_squared", "ce"),
}
"""Losses that go by one name. ``mse_bce_dice`` and ``dice_ce`` are the published ones of RAM-H1200 for bones and for
erosions."""

_WRITTEN = re.compile(r"(\w+)(?:=(.*))?")


def parse_losses(key: str, losses: tuple[str, ...], *, exclusive: bool) -> tuple[tuple[str, float], ...]:
    """Returns the losses and their weights, combinations as their parts.

    Args:
      key: under which the settings have them, for the messages.
      losses: as written, such as ``("dice_bce", "boundary=0.01")``.
      exclusive: they are of labels that exclude each other.

    Raises:
      ConfigError: there is no such loss, not for these masks, it is there twice, or its weight is no number above 0 and
        up to `WEIGHT_MAX`.
    """
    known = (*OF_MASKS, *OF_LABELS) if exclusive else OF_MASKS
    combined = [name for name, parts in COMBINATIONS.items() if set(parts) <= set(known)]
    found: dict[str, float] = {}
    for written in losses:
        match = _WRITTEN.fullmatch(written)
        name = match[1] if match else written
        if name not in known and name not in combined:
            why = " (which is for labels that exclude each other)" if name in (*OF_LABELS, *COMBINATIONS) else ""
            raise ConfigError(f"{key} has {written!r}{why}; use {', '.join((*known, *combined))}, also as NAME=WEIGHT.")
        weight = 1.0 if match[2] is None else _number(match[2])
        check_number(f"{key}, weight of {name},", weight, above=0, most=WEIGHT_MAX)
        for part in COMBINATIONS.get(name, (name,)):
            if part in found:
                raise ConfigError(f"{key} is {losses}, which has {part} twice; name each loss once.")
            found[part] = weight
    if not found:
        raise ConfigError(f"{key} is empty; name one loss or more of {', '.join((*known, *combined))}.")
    return tuple(found.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")
