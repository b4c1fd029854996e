"""Labels: the arrays that a task learns from, made from the annotations of a record as the canvas shows them."""

import dataclasses
import functools
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
    """

    placement: Placement
    canvas: CanvasConfig

    @functools.cached_property
    def shown(self) -> np.ndarray:
        """Where pixels of the record are seen, bool (h, w); the rest is padding."""
        return geometry.visible(self.placement, self.canvas.height, self.canvas.width)

    def warp(self, plane: np.ndarray) -> np.ndarray:
        """A plane of labels, uint8 (H, W) or (H, W, 4), on the canvas, by nearest neighbour."""
        return geometry.warp_labels(plane, self.placement.affine, self.canvas.height, self.canvas.width)


@dataclasses.dataclass(frozen=True)
class Spec:
    """An array of an example: its numpy dtype, its shape, and what it means.

    ``"h"`` and ``"w"`` in the shape stand for the canvas's height and width. An array that begins with both is dense:
    it is 0 in padding, and over devices it is split by its height as the image is.

    Attributes:
      dtype: of numpy.
      shape: of one example.
      meaning: for people.
      plane: ``bones`` (its words, uint32) or ``erosions`` (uint8), where a dense array is that plane of the record; ''
        otherwise. Such an array is made on the devices where `data.cache` is ``device``.
    """

    dtype: type
    shape: tuple[int | str, ...]
    meaning: str
    plane: str = ""

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
      make: ``make(record, view)`` returns the arrays of one example, without those that are a `Spec.plane`. It is a
        module-level function, so that it can be sent to worker processes, and depends on its arguments alone. For a
        record without annotations, such as those that fill up the last batch, it returns labels that mean "unknown".
    """

    arrays: Mapping[str, Spec]
    make: Callable[[Record, View], Mapping[str, Any]]

    @property
    def planes(self) -> dict[str, Spec]:
        """The arrays that are planes of the record."""
        return {name: spec for name, spec in self.arrays.items() if spec.plane}

    def of(self, record: Record, view: View) -> dict[str, np.ndarray]:
        """The arrays of an example, dense ones 0 in padding.

        Raises:
          ValueError: `make` returned other arrays than it declares; the message names the array.
        """
        labels = self.without_planes(record, view)
        for name, spec in self.planes.items():
            array = view.warp(getattr(record, spec.plane))
            array = array.view("<u4")[..., 0].astype(np.uint32, copy=False) if spec.plane == "bones" else array
            labels[name] = self._checked(name, array, view)
        return {name: labels[name] for name in self.arrays}

    def without_planes(self, record: Record, view: View) -> dict[str, np.ndarray]:
        """As `of`, without the arrays that are planes of the record."""
        made = self.make(record, view)
        declared = self.arrays.keys() - self.planes.keys()
        if made.keys() != declared:
            declared = [name for name in self.arrays if name in declared]
            raise ValueError(f"{self.make.__qualname__} makes {', '.join(made)}; declared are {', '.join(declared)}.")
        return {name: self._checked(name, np.asarray(array), view) for name, array in made.items()}

    def _checked(self, name: str, array: np.ndarray, view: View) -> np.ndarray:
        spec, sides = self.arrays[name], {"h": view.canvas.height, "w": view.canvas.width}
        shape = tuple(sides.get(size, size) for size in spec.shape)
        if array.shape != shape or array.dtype != spec.dtype:
            raise ValueError(
                f"The label {name} is {array.dtype} {array.shape}; declared is {np.dtype(spec.dtype)} {shape}."
            )
        if spec.dense:
            array[~view.shown] = 0
        return array
