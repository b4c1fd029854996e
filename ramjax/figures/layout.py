"""Rows and words that several sections use."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ramjax.figures.content import Cell, Row
from ramjax.figures.estimates import Evaluated
from ramjax.figures.published import Published
from ramjax.metrics.cases import MODES, PUBLISHED_TOLERANCE, Mode
from ramjax.metrics.metric import Headline

DATASET_TITLES = {"ram_phantom": "Synthetic hands", "ram_h1200": "RAM-H1200", "ram_w600": "RAM-W600"}
SCALE_TITLES = {"be": "Bone erosion (BE)", "jsn": "Joint space narrowing (JSN)"}


def system_rows(
    several: Sequence[Evaluated],
    names: Sequence[str],
    *,
    modes: Sequence[Mode] = MODES,
    sd: bool = False,
    digits: int = 3,
) -> list[Row]:
    """A row a system and mode with its estimates by name."""
    return [
        Row(of.name, tuple(of.estimate(name, mode).cell(digits, sd) for name in names), mode)
        for of in several
        for mode in modes
    ]


def published_rows(published: Published, names: Sequence[str], digits: Mapping[str, int] | None = None) -> list[Row]:
    """A row a published model, at the precision it was published with: 4 decimals unless `digits` knows better."""
    digits = digits or {}
    return [
        Row(
            model,
            tuple(Cell(of.get(name, math.nan), digits=digits.get(name, 4)) for name in names),
            "compat",
            published.source,
        )
        for model, of in published.rows.items()
    ]


def distances(about: Mapping[str, Any]) -> str:
    """What the distances of strict and compat rows are in, and the tolerances, in a sentence."""
    tolerance, unit = about["tolerance"], about["unit"]
    if unit == "px" and tolerance == PUBLISHED_TOLERANCE:
        return f"NSD at {tolerance:g} px."
    return (
        f"NSD at {tolerance:g} {unit} and MSD in {unit}; compat as published, at {PUBLISHED_TOLERANCE:g} px and in px."
    )


def distance_column(about: Mapping[str, Any]) -> str:
    """Heading of a column of distances with rows of both modes."""
    return "MSD (px)" if about["unit"] == "px" else f"MSD ({about['unit']}, compat px)"


def directions(headlines: Sequence[Headline]) -> str:
    """Of which metrics which values are better, in a sentence."""
    titles = {better: [it.title for it in headlines if it.better == better] for better in (1, 0, -1)}
    zero = f"; 0 is best for: {'; '.join(titles[0])}" if titles[0] else ""  # semicolons, since titles have commas
    if not titles[-1]:
        return f"Higher is better{zero}."
    if not titles[1]:
        return f"Lower is better{zero}."
    return f"Higher is better, but lower for: {'; '.join(titles[-1])}{zero}."


def summed_over_seeds(of: Evaluated) -> str:
    """Says so of a figure of several runs; '' of one."""
    return f" Summed over {len(of.cases)} seeds." if len(of.cases) > 1 else ""


def of_first_seed(of: Evaluated) -> str:
    """Says so of a figure of the first of several runs; '' of one."""
    return " Of the first seed." if len(of.cases) > 1 else ""


def title(name: str) -> str:
    """The name of a task as a heading."""
    return name[:1].upper() + name[1:].replace("_", " ")


def slug(*words: str) -> str:
    """An id of the words."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def listed(words: Sequence[str]) -> str:
    """The words with commas and an 'and'."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else list(words))


def counted(number: int, thing: str, things: str = "") -> str:
    """``1 hand``, ``2 hands``."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"
