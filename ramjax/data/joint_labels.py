"""The labels of joint sites: boxes, presence and scores, which several tasks learn from."""

from typing import Any

import numpy as np

from ramjax import anatomy
from ramjax.data import geometry
from ramjax.data.labels import Labels, Spec, View
from ramjax.record import UNKNOWN_SCORE, Record

_BORDER_TOLERANCE = 0.01
"""Pixels by which a box may leave the canvas before its joint counts as cut: above rounding, below anything visible."""


def _joints(record: Record, view: View) -> dict[str, Any]:
    """Boxes, presence and scores by site.

    A joint that is cut by the border of the canvas or the window loses its label: neither present nor known to be
    absent.
    """
    placement, canvas = view.placement, view.canvas
    boxes = np.zeros((anatomy.NUM_SITES, 4), np.float32)
    present = np.zeros(anatomy.NUM_SITES, bool)
    be, jsn = (np.full(anatomy.NUM_SITES, UNKNOWN_SCORE, np.int32) for _ in range(2))
    height, width = record.image.shape
    native = np.array([joint.bbox for joint in record.joints], float).reshape(-1, 4) * (height, width, height, width)
    moved = geometry.apply_to_boxes(placement.affine, native)
    frame = (0, 0, canvas.height, canvas.width)
    whole = _inside(native, placement.window) & _inside(moved, frame) & record.has_joints
    touching = _touches(native, placement.window) & _touches(moved, frame)
    known = np.asarray(record.joints_known, bool) & record.has_joints
    for joint, box, keep, touches in zip(record.joints, moved, whole, touching, strict=True):
        site = anatomy.SITE_INDEX[joint.site]
        if keep:
            boxes[site], present[site] = box, True
            be[site] = joint.be if record.has_be else UNKNOWN_SCORE
            jsn[site] = joint.jsn if record.has_jsn else UNKNOWN_SCORE
        elif touches:
            known[site] = False
    flags = {name: np.bool_(getattr(record, name)) for name in ("has_joints", "has_be", "has_jsn")}
    return {"boxes": boxes, "present": present, "joints_known": known, "be": be, "jsn": jsn, **flags}


def _inside(boxes: np.ndarray, frame: Any) -> np.ndarray:
    ymin, xmin, ymax, xmax = frame
    lower = boxes[:, :2] >= np.array((ymin, xmin)) - _BORDER_TOLERANCE
    upper = boxes[:, 2:] <= np.array((ymax, xmax)) + _BORDER_TOLERANCE
    return lower.all(axis=1) & upper.all(axis=1)


def _touches(boxes: np.ndarray, frame: Any) -> np.ndarray:
    ymin, xmin, ymax, xmax = frame
    return (boxes[:, :2] < (ymax, xmax)).all(axis=1) & (boxes[:, 2:] > (ymin, xmin)).all(axis=1)


_SITES = anatomy.NUM_SITES

JOINT_LABELS = Labels(
    {
        "boxes": Spec(np.float32, (_SITES, 4), "ymin, xmin, ymax, xmax in canvas pixels; 0 where absent"),
        "present": Spec(np.bool_, (_SITES,), "this site is annotated and wholly on the canvas"),
        "joints_known": Spec(np.bool_, (_SITES,), "it is known whether the site is present; False where it is cut"),
        "be": Spec(np.int32, (_SITES,), "bone erosion 0 to 5, -1 unknown"),
        "jsn": Spec(np.int32, (_SITES,), "joint space narrowing 0 to 4, -1 unknown"),
        "has_joints": Spec(np.bool_, (), "joint regions were annotated at all"),
        "has_be": Spec(np.bool_, (), "bone erosion was scored at all"),
        "has_jsn": Spec(np.bool_, (), "joint space narrowing was scored at all"),
    },
    _joints,
)
