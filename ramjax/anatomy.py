"""The vocabulary: bones, joint sites, score scales, erosion labels, overlap pairs, aliases.

All names of bones, sites and labels come from here. An unknown name is an error that names it.

Sources: the channel order and the overlap pairs are those of the RAM-H1200 release (arXiv 2605.05616); sites and scales
are the Sharp/van der Heijde score of the hand (van der Heijde D. J Rheumatol 1999;26:743-5 and 2000;27:261-3).
"""

import dataclasses

BONES: tuple[str, ...] = (
    "Capitate", "DP1", "DP2", "DP3", "DP4", "DP5", "Hamate", "Lunate",
    "MC1", "MC2", "MC3", "MC4", "MC5", "MP2", "MP3", "MP4", "MP5",
    "PP1", "PP2", "PP3", "PP4", "PP5", "PisiformTriquetrum", "Radius",
    "Scaphoid", "Sesamoid", "SoftTissue", "Trapezium", "Trapezoid", "Ulna",
)  # fmt: skip
"""The 30 mask channels in released order; a bone's index here is its bit in the packed mask."""

NUM_BONES = len(BONES)
BONE_INDEX: dict[str, int] = {name: index for index, name in enumerate(BONES)}
SOFT_TISSUE = BONE_INDEX["SoftTissue"]
SESAMOID = BONE_INDEX["Sesamoid"]

WRIST_BONES: tuple[str, ...] = (
    "Capitate", "Radius", "Ulna", "Hamate", "Lunate", "PisiformTriquetrum", "Scaphoid",
    "Trapezium", "Trapezoid", "MC1", "MC2", "MC3", "MC4", "MC5",
)  # fmt: skip
"""The 14 mask channels of RAM-W600, in released order."""

EROSION_LABELS: tuple[str, ...] = ("Background", "SvdH-BE-90", "SvdH-BE-50", "Non-SvdH-BE")
"""Exclusive pixel labels 0-3; where lesions overlap the lower number wins."""

NUM_EROSION_LABELS = len(EROSION_LABELS)

BE_MAX = 5
"""Highest bone erosion (BE) score of a site."""

JSN_MAX = 4
"""Highest joint space narrowing (JSN) score of a site."""


@dataclasses.dataclass(frozen=True)
class Site:
    """A joint site of the score.

    Attributes:
      name: the released short name, e.g. ``MCP-T`` (T, I, M, R, S: thumb to small finger).
      bones: the bones that make it, proximal first.
      be: scored for bone erosion, 0 to `BE_MAX`.
      jsn: scored for joint space narrowing, 0 to `JSN_MAX`.
      region: ``MCP``, ``PIP`` (the thumb's IP among them) or ``wrist``.
    """

    name: str
    bones: tuple[str, ...]
    be: bool
    jsn: bool
    region: str


FINGERS: tuple[str, ...] = ("T", "I", "M", "R", "S")
"""Letters of the digits 1 to 5 in site names."""

SITES: tuple[Site, ...] = (
    *(Site(f"MCP-{f}", (f"MC{d}", f"PP{d}"), True, True, "MCP") for d, f in enumerate(FINGERS, 1)),
    *(Site(f"PIP-{f}", (f"PP{d}", f"MP{d}"), True, True, "PIP") for d, f in enumerate(FINGERS[1:], 2)),
    Site("IP", ("PP1", "DP1"), True, False, "PIP"),
    Site("CMC-T", ("MC1",), True, False, "wrist"),
    Site("Tm", ("Trapezium",), True, False, "wrist"),
    Site("S", ("Scaphoid",), True, False, "wrist"),
    Site("L", ("Lunate",), True, False, "wrist"),
    Site("R", ("Radius",), True, False, "wrist"),
    Site("U", ("Ulna",), True, False, "wrist"),
    Site("CMC-M", ("Capitate", "MC3"), False, True, "wrist"),
    Site("CMC-R", ("Hamate", "MC4"), False, True, "wrist"),
    Site("CMC-S", ("Hamate", "MC5"), False, True, "wrist"),
    Site("SC", ("Scaphoid", "Capitate"), False, True, "wrist"),
    Site("SR", ("Radius", "Scaphoid"), False, True, "wrist"),
    Site("STT", ("Scaphoid", "Trapezium", "Trapezoid"), False, True, "wrist"),
)
"""The 22 joint sites; the index here is the site's index in every array. The first 16 are the BE sites."""

NUM_SITES = len(SITES)
SITE_NAMES: tuple[str, ...] = tuple(site.name for site in SITES)
SITE_INDEX: dict[str, int] = {name: index for index, name in enumerate(SITE_NAMES)}
BE_SITES: tuple[int, ...] = tuple(i for i, site in enumerate(SITES) if site.be)
JSN_SITES: tuple[int, ...] = tuple(i for i, site in enumerate(SITES) if site.jsn)
SCALES: dict[str, tuple[int, tuple[int, ...]]] = {"be": (BE_MAX, BE_SITES), "jsn": (JSN_MAX, JSN_SITES)}
"""The two scales of the score: each one's highest score and the indices of the sites it grades."""

WRIST_SITES: tuple[int, ...] = tuple(i for i, site in enumerate(SITES) if site.region == "wrist")

OVERLAP_PAIRS: tuple[tuple[str, str], ...] = (
    ("Radius", "Scaphoid"), ("Radius", "Lunate"), ("Scaphoid", "Trapezium"), ("Capitate", "Scaphoid"),
    ("Trapezium", "MC1"), ("Capitate", "MC3"), ("Hamate", "MC4"), ("Lunate", "Scaphoid"),
    ("Trapezium", "Trapezoid"), ("Capitate", "Trapezoid"), ("Hamate", "MC5"), ("Trapezium", "MC2"),
    ("Trapezoid", "MC2"), ("MC2", "MC3"),
)  # fmt: skip
"""The 14 pairs whose overlap (the AND of both masks) the published tables score."""

BONE_ALIASES: dict[str, str] = {
    "DistalRadius": "Radius",
    "DistalUlna": "Ulna",
    "Tri": "PisiformTriquetrum",
    "Pisifrom_Triquetrum": "PisiformTriquetrum",
    "Pisifrom&Triquetrum": "PisiformTriquetrum",
    "Pisiform_Triquetrum": "PisiformTriquetrum",
    "Pisiform&Triquetrum": "PisiformTriquetrum",
    "Trapzium": "Trapezium",
    "Trapzoid": "Trapezoid",
    **{f"metacarpal{n}": f"MC{d}" for d, n in enumerate(("1st", "2nd", "3rd", "4th", "5th"), 1)},
}
"""Released spellings that differ from `BONES`."""

SITE_ALIASES: dict[str, str] = {
    "Metacarpal1st": "CMC-T",
    "Trapzium": "Tm",
    "Trapezium": "Tm",
    "Scaphoid": "S",
    "Lunate": "L",
    "DistalRadius": "R",
    "DistalUlna": "U",
    "Radius": "R",
    "Ulna": "U",
}
"""RAM-W600's joint names, and those of the bones they stand for."""


def canonical_bone(name: str) -> str:
    """Returns the name in `BONES` for a released spelling; raises ValueError naming an unknown one."""
    return _canonical(name, BONE_INDEX, BONE_ALIASES, "bone")


def canonical_site(name: str) -> str:
    """Returns the name in `SITE_NAMES` for a released spelling; raises ValueError naming an unknown one."""
    return _canonical(name, SITE_INDEX, SITE_ALIASES, "joint site")


def _canonical(name: str, known: dict[str, int], aliases: dict[str, str], kind: str) -> str:
    name = aliases.get(name, name)
    if name not in known:
        raise ValueError(f"Unknown {kind} {name!r}; known are {', '.join(known)} and the aliases {', '.join(aliases)}.")
    return name
