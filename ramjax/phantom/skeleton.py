"""The hand's proportions, its pose, and its bones in their places (see `assembly`).

Lengths are means of adults by Buryanov and Kotiuk (Int J Morphol 2010;28:755-8); widths are textbook values
(metacarpal shafts 8-9 mm and heads 14-16 mm wide, middle phalanx shafts 7-8 mm), the others in proportion to them as on
posteroanterior films.
"""

import dataclasses

import numpy as np

from ramjax import anatomy
from ramjax.phantom.bones import Bone
from ramjax.phantom.cohort import Patient

LENGTHS = {
    "MC": (46.2, 68.1, 64.6, 58.0, 53.7),
    "PP": (31.6, 39.8, 44.6, 41.4, 32.7),
    "MP": (0.0, 22.4, 26.3, 25.7, 18.1),
    "DP": (21.7, 15.8, 17.4, 17.3, 16.0),
}
"""mm, digits 1 to 5."""

LENGTH_VARIATION = 0.025
"""Standard deviation of a bone's length beyond the body's size."""

WIDTHS = {
    "MC": ((15.0, 10.4, 15.4), (15.0, 8.6, 16.4), (14.0, 8.6, 16.6), (10.5, 6.9, 14.4), (12.0, 7.6, 13.6)),
    "PP": ((15.6, 9.4, 12.2), (15.6, 9.2, 11.6), (16.2, 9.6, 12.0), (14.8, 8.6, 11.0), (13.2, 7.2, 9.3)),
    "MP": ((0.0, 0.0, 0.0), (13.2, 7.8, 9.8), (13.8, 8.2, 10.4), (12.8, 7.6, 9.8), (10.6, 6.4, 8.4)),
    "DP": ((13.2, 6.2, 9.2), (10.2, 4.2, 6.8), (10.8, 4.4, 7.2), (10.4, 4.2, 7.0), (9.0, 3.6, 5.8)),
}
"""Base, waist and head widths in mm, digits 1 to 5; the bases of metacarpals 2 to 5 are drawn by `carpus`."""

NORMAL_SPACE = {"MCP": 1.75, "PIP": 1.1, "CMC": 1.5, "SC": 1.7, "STT": 1.6, "SR": 2.0}
"""Joint space widths of a healthy young man in mm: chosen near what healthy posteroanterior films show."""


@dataclasses.dataclass(frozen=True)
class Pose:
    """How the hand lies. Angles in degrees, positive to the ulnar side.

    Attributes:
      spread: of the fingers; 0 closed, 1 relaxed, 1.8 wide.
      thumb: direction of MC1 relative to MC3, about -65 (wide) to -20 (adducted).
      thumb_bend: PP1 and DP1 relative to the bone before (2,).
      wrist: deviation of the wrist, -12 to 12.
      turn: rotation of the whole hand in the image, -15 to 15.
      sway: small deviations of PP, MP, DP of digits 2-5 from their line (3, 4).
      flexion: angle of PP, MP, DP of digits 1-5 out of the image plane (3, 5), below 42 but for contractures, which
        go to 88 (end-on); a bone appears shorter by its cosine.
    """

    spread: float
    thumb: float
    thumb_bend: np.ndarray
    wrist: float
    turn: float
    sway: np.ndarray
    flexion: np.ndarray


def sample_pose(rng: np.random.Generator, drift: float, extent: float) -> Pose:
    """Draws a pose; with the disease's ulnar drift (degrees) and extent (severity) fingers bend more."""
    spread = float(
        rng.choice((rng.uniform(-0.1, 0.5), rng.uniform(0.5, 1.4), rng.uniform(1.4, 1.8)), p=(0.25, 0.62, 0.13))
    )
    curl = np.abs(rng.normal(0.0, 6.0 + 5.0 * extent))
    flexion = np.abs(rng.normal(0.6 * curl, 6.0, (3, 5))) * np.array((0.5, 1.0, 1.0))[:, None]
    bend = np.array((rng.normal(10.0, 9.0), rng.normal(-2.0, 8.0)))
    thumb = float(np.clip(rng.normal(-38.0, 9.0), -64.0, -17.0))
    wrist, turn = rng.normal(-0.2 * drift, 4.5), rng.normal(0.0, 6.0)
    astray = 3.0 + 4.0 * float(np.clip(extent - 0.6, 0.0, 1.0))
    return Pose(
        spread=spread,
        thumb=thumb,
        thumb_bend=bend,
        wrist=float(np.clip(wrist, -12.0, 12.0)),
        turn=float(np.clip(turn, -15.0, 15.0)),
        sway=rng.normal(0.0, astray, (3, 4)) * np.array((1.0, 0.8, 1.1))[:, None],
        flexion=_contracted(np.minimum(flexion, 42.0), extent, rng),
    )


def _contracted(flexion: np.ndarray, extent: float, rng: np.random.Generator) -> np.ndarray:
    """Bends fingers of severe hands for good: in flexion or boutonniere at the PIP joint, or as a swan's neck at the
    DIP joint.
    """
    hand, much = rng.random(), rng.random((3, 5))
    chosen, swan = rng.random(5) < 0.45, rng.random(5) < 0.35
    chosen[0] = False
    if hand > np.clip(0.7 * (extent - 0.5), 0.0, 0.65):
        return flexion
    middle = 38.0 + 50.0 * much[1]
    buttonhole = np.stack((5.0 + 30.0 * much[0], middle, np.maximum(middle - 75.0 * much[2], 0.0)))
    neck = np.stack((10.0 + 25.0 * much[0], 12.0 * much[1], 30.0 + 40.0 * much[2]))
    return np.where(chosen, np.where(swan, neck, buttonhole), flexion)


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The bones of one right hand in mm; x to the ulnar side, y proximal, origin near the capitate - MC3 joint.

    Attributes:
      bones: every bone's outline and make, proximal to distal along each ray; pisiform and sesamoids among them.
      joints: float (22, 2), centre of every site.
      normal_space: float (22,), the patient's healthy joint space in mm; NaN where narrowing is not scored.
      space: float (22,), the joint space drawn, 0 where fused or dislocated.
      hidden: bool (22,), joints of contracted fingers whose bones overlap along the beam: no space shows.
      size: body size the lengths were scaled by.
    """

    bones: tuple[Bone, ...]
    joints: np.ndarray
    normal_space: np.ndarray
    space: np.ndarray
    hidden: np.ndarray
    size: float

    def bone(self, name: str) -> Bone:
        """Returns the first bone of that name."""
        return next(bone for bone in self.bones if bone.name == name)


def normal_spaces(patient: Patient, rng: np.random.Generator) -> np.ndarray:
    """Returns the patient's healthy joint spaces (22,) in mm, NaN where not scored.

    They are 0.1-0.2 mm less in women, and less with age.
    """
    share = 1.0 - (0.08 if patient.sex == "F" else 0.0) - 0.0016 * max(patient.age - 30.0, 0.0)
    share *= rng.normal(1.0, 0.06)
    own = rng.normal(1.0, 0.04, anatomy.NUM_SITES)
    table = [NORMAL_SPACE.get(site.region, NORMAL_SPACE.get(site.name.split("-")[0], 0.0)) for site in anatomy.SITES]
    return np.where([site.jsn for site in anatomy.SITES], np.array(table) * np.clip(share * own, 0.7, 1.2), np.nan)
