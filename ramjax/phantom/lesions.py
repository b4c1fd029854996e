"""Where lesions lie on the bones: closed outlines of the missing bone."""

import dataclasses

import numpy as np

from ramjax import anatomy
from ramjax.phantom import curves
from ramjax.phantom.bones import Bone
from ramjax.phantom.disease import COLLAPSE_GRADE, LesionPlan
from ramjax.phantom.skeleton import Skeleton

# Spots on a bone end as (u, v): u in half widths to the ulnar side, v in half widths from the end towards the shaft.
# The bare area lies beside the cartilage: on the heads at the level of the tubercles, on the bases at the rim; the
# radial side leads.
_HEAD_SPOTS = ((-1.0, 0.75), (1.0, 0.75), (-0.8, 0.3))
_BASE_SPOTS = ((-1.0, 0.25), (1.0, 0.25), (0.8, 0.0))

# Spots on wrist bones as directions in degrees from the bone's middle, 0 distal, 90 ulnar: scaphoid waist and
# tubercle first, ulnar styloid first, radial styloid and the radioulnar corner, capitate's radial waist,
# triquetrum's ulnar margin.
_WRIST_SPOTS = {
    "MC1": (-70.0, 80.0, 180.0),
    "Trapezium": (-100.0, -30.0, -150.0),
    "Scaphoid": (-70.0, -120.0, 60.0),
    "Lunate": (80.0, 150.0, -150.0),
    "Radius": (-55.0, 62.0, 40.0),
    "Ulna": (40.0, -50.0, -5.0),
    "Capitate": (-95.0, 100.0, 0.0),
    "Hamate": (100.0, 40.0, 0.0),
    "PisiformTriquetrum": (90.0, 130.0, 0.0),
    "Trapezoid": (-30.0, 30.0, 0.0),
}

END_WIDTH_CAP = 18.0
"""mm: the imaginary middle of broader ends (the radius) is taken at half of this from the eroded margin, not of the
whole.
"""


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A lesion in place.

    Attributes:
      plan: what it is.
      target: index in `Skeleton.bones`.
      outline: float (n, 2), closed, in mm; what it covers of the bone is the lesion.
      middle: float (2,), its centre.
      depth: how far it reaches into the bone in mm.
    """

    plan: LesionPlan
    target: int
    outline: np.ndarray
    middle: np.ndarray
    depth: float


def locate(skeleton: Skeleton, plans: tuple[LesionPlan, ...], rng: np.random.Generator) -> tuple[Lesion, ...]:
    """Places the lesions. `rng` is the hand's: a lesion keeps its spot and shape at the next visit."""
    shapes = rng.normal(size=(anatomy.NUM_SITES + anatomy.NUM_BONES, 4, 12))
    names = [bone.name for bone in skeleton.bones]
    placed = []
    for plan in plans:
        target = names.index(plan.bone)
        row = plan.site if plan.site >= 0 else anatomy.NUM_SITES + anatomy.BONE_INDEX[plan.bone]
        placed.append(_place(skeleton.bones[target], target, plan, shapes[row, plan.slot], skeleton.size))
    return tuple(placed)


def _place(bone: Bone, target: int, plan: LesionPlan, shape: np.ndarray, size: float) -> Lesion:
    spot, width, axis = _spot(bone, plan, shape, size)
    nearest = int(np.argmin(((bone.body - spot) ** 2).sum(axis=1)))
    edge, inward = bone.body[nearest], _smooth_normal(bone.body, nearest)
    depth = plan.reach * min(width, END_WIDTH_CAP * size)
    if plan.grade == COLLAPSE_GRADE:
        edge, inward, across, depth = axis[0], axis[1], 0.6 * width, 0.42 * min(width, END_WIDTH_CAP * size)
    else:
        # Small bites are wider than deep, large ones undercut.
        wide, spread = (0.62, 0.1) if plan.reach > 0.25 else (0.85, 0.15)
        across = max(depth * (wide + spread * np.tanh(shape[0])), 0.9)
    # A pocket is an oval just within the margin, a bite one about it; both go exactly `depth` into the bone.
    shift, semi = (0.55 * depth, 0.5 * depth) if plan.pocket else (0.0, depth)
    tangent = np.array((-inward[1], inward[0]))
    phase = np.linspace(0.0, 2.0 * np.pi, 40, endpoint=False)
    ripple = 1.0 + sum(0.12 * np.tanh(shape[1 + k]) * np.cos((k + 2) * phase + 3.0 * shape[6 + k]) for k in range(4))
    along, inwards = across * ripple * np.cos(phase), shift + semi * ripple * np.sin(phase)
    inwards *= depth / inwards.max()
    outline = edge + along[:, None] * tangent + inwards[:, None] * inward
    return Lesion(plan, target, outline, edge + (0.55 if plan.pocket else 0.4) * depth * inward, depth)


def _spot(
    bone: Bone, plan: LesionPlan, shape: np.ndarray, size: float
) -> tuple[np.ndarray, float, tuple[np.ndarray, np.ndarray]]:
    """Returns a point near the margin to erode, the end's width, and the joint surface's top with its inward normal."""
    if bone.kind == "long" and plan.site != anatomy.SITE_INDEX["CMC-T"]:
        distal = curves.direction(bone.angle)
        at_head = (plan.site >= 0 and anatomy.SITES[plan.site].bones[0] == plan.bone) or bone.name.startswith("MP")
        if at_head:
            u, v = _HEAD_SPOTS[plan.slot % 3]
            half = 0.5 * bone.widths[2]
            top = bone.length
            return bone.at(u * half, top - v * half), 2.0 * half, (bone.at(0.0, top), -distal)
        u, v = _BASE_SPOTS[plan.slot % 3]
        half = 0.5 * bone.widths[0]
        return bone.at(u * half, v * half), 2.0 * half, (bone.at(0.0, 0.0), distal)
    spots = _WRIST_SPOTS[bone.name]
    towards = curves.direction(spots[plan.slot % 3] + bone.angle + 6.0 * np.tanh(shape[11]))
    if bone.kind == "carpal":
        middle = bone.origin
        width = min(bone.length, bone.widths[0])
    elif bone.kind == "forearm":
        middle = np.array((bone.origin[0], bone.body[:, 1].min() + 0.45 * bone.widths[0]))
        width = bone.widths[0]
    else:
        middle = bone.at(0.0, 0.3 * bone.widths[0])
        width = bone.widths[0]
    # The margin lies where a ray from the middle leaves the bone.
    rays = bone.body - middle
    reach = rays / np.maximum(np.hypot(*rays.T), 1e-6)[:, None]
    spot = bone.body[int(np.argmax(reach @ towards))]
    end = curves.direction(bone.angle) if bone.kind != "long" else -curves.direction(bone.angle)
    top = bone.body[int(np.argmax(reach @ end))]
    return spot, width, (top, -end)


def _smooth_normal(outline: np.ndarray, vertex: int) -> np.ndarray:
    """Returns the inward normal (2,) averaged over some millimetres of the margin."""
    normals = curves.inward_normals(outline)
    mean = normals[np.arange(vertex - 4, vertex + 5) % len(normals)].sum(axis=0)
    return mean / max(float(np.hypot(*mean)), 1e-6)
