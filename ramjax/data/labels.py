"""Labels: the arrays that a task learns from, made from the annotations of a record as the canvas shows them."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ramjax.config import CanvasConfig
from ramjax.data import geometry
from ramjax.data.geometry import Placement
from ramjax.record import Record


@dataclasses.dataclass(frozen=True)
class View:
    """How a record is shown on the canvas.

    Attributes:
      placement: the affine map from pixels of the record to those of the canvas, and whether it mirrors.
      canvas: the canvas.
      shown: bool (h, w), where pixels of the record are seen; the rest is padding.
    """

    placement: Placement
    canvas: CanvasConfig
    shown: np.ndarray

    def warp(self, plane: np.ndarray) -> np.ndarray:
        """A plane of labels, uint8 (H, W) or (H, W, 4), on the canvas, by nearest neighbour."""
        return geometry.warp_labels(plane, self.placement.affine, self.canvas.height, self.canvas.width)


@dataclasses.dataclass(frozen=True)
class Spec:
    """An array of an example: its numpy dtype, its shape, and what it means.

    ``"h"`` and ``"w"`` in the shape stand for the canvas's height and width. An array that begins with both is dense:
    it is 0 in padding, and over devices it is split by its height as the image is.
    """

    dtype: type
    shape: tuple[int | str, ...]
    meaning: str

    @property
    def dense(self) -> bool:
        return self.shape[:2] == ("h", "w")


@dataclasses.dataclass(frozen=True)
class Labels:
    """Arrays that belong together, and the function that makes them.

    Labels that come from `View.warp`, or from coordinates mapped by the view's affine map, are mirrored with the image.
    A label that names a side must look at `View.placement.mirrored` itself.

    Attributes:
      arrays: by name; names are unique among the labels of all tasks of a network.
      make: ``make(record, view)`` returns the arrays of one example. It is a module-level function, so that it can be
        sent to worker processes, and depends on its arguments alone. For a record without annotations, such as those
        that fill up the last batch, it returns labels that mean "unknown".
    """

    arrays: Mapping[str, Spec]
    make: Callable[[Record, View], Mapping[str, Any]]

    def of(self, record: Record, view: View) -> dict[str, np.ndarray]:
        """The arrays of an example, dense ones 0 in padding.

        Raises:
          ValueError: `make` returned other arrays than it declares; the message names the array.
        """
        made = self.make(record, view)
        if made.keys() != self.arrays.keys():
            raise ValueError(
                f"{self.make.__qualname__} makes {', '.join(made)}; declared are {', '.join(self.arrays)}."
            )
        sides = {"h": view.canvas.height, "w": view.canvas.width}
        labels = {}
        for name, spec in self.arrays.items():
            array = np.asarray(made[name])
            shape = tuple(sides.get(size, size) for size in spec.shape)
            if array.shape != shape or array.dtype != spec.dtype:
                raise ValueError(
                    f"The label {name} is {array.dtype} {array.shape}; declared is {np.dtype(spec.dtype)} {shape}."
                )
            if spec.dense:
                array[~view.shown] = 0
            labels[name] = array
        return labels
