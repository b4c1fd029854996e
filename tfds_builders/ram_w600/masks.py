"""Reads the bone masks of a wrist, checked before they become labels."""

import math
import pathlib

import numpy as np
from numpy.lib import format as npy

from ramjax import anatomy
from ramjax.io.errors import ReleaseError
from ramjax.record import pack_bones

_SET = (1, 255)
"""What stands for bone in a mask, beside 0 for none; one of both in a file."""

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
"""Readers of the header by version."""


def read_mask(path: pathlib.Path, shape: tuple[int, int]) -> np.ndarray:
    """The packed masks, uint8 (H, W, 4), of a file of 14 planes in the released order, channels first or last.

    Raises:
      ReleaseError: the file is damaged, of another size than the image, or has other values than 0 and 1 or 0 and 255.
    """
    stored = _load(path)
    channels = len(anatomy.WRIST_BONES)
    if stored.ndim == 3 and stored.shape[0] != channels == stored.shape[-1]:
        stored = stored.transpose(2, 0, 1)
    if stored.shape != (channels, *shape):
        raise ReleaseError(
            f"{path} is {stored.shape}, its image {shape}; {channels} planes of that size are needed: image and "
            "masks are of different releases, fetch both again."
        )
    if stored.dtype.kind not in "buif":
        raise ReleaseError(f"{path} holds {stored.dtype}; a mask holds whole numbers, 0 and 1 or 0 and 255.")
    top = stored.max()
    if top not in (0, *_SET) or ((stored != 0) & (stored != top)).any():
        values = np.unique(stored)
        others = values[~np.isin(values, (0, *_SET))]
        some = ", ".join(f"{value:g}" for value in (others if others.size else values)[:5])
        raise ReleaseError(
            f"{path} holds values such as {some}; a mask holds 0 and 1 or 0 and 255 alone (others come of smoothing, "
            "lossy compression or probabilities): fetch it again."
        )
    planes = np.zeros((*shape, anatomy.NUM_BONES), bool)
    for plane, name in zip(stored, anatomy.WRIST_BONES, strict=True):
        planes[..., anatomy.BONE_INDEX[name]] = plane != 0
    return pack_bones(planes)


def _load(path: pathlib.Path) -> np.ndarray:
    """The array; what its header claims takes no memory before the size of the file bears it out."""
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise ValueError("it is of another format, or a Git LFS pointer")
            file.seek(0)
            version = npy.read_magic(file)
            if version not in _HEADERS:
                raise ValueError(f"it is of version {version}")
            shape, fortran_order, dtype = _HEADERS[version](file)
            count, there = math.prod(shape), path.stat().st_size - file.tell()
            if min(shape, default=0) < 0 or dtype.hasobject or count * dtype.itemsize != there:
                raise ValueError(f"{there} bytes are no {dtype} array of {shape}")
            flat = np.fromfile(file, dtype, count)
    except Exception as error:  # the parser of the header raises nearly anything on damaged bytes
        raise ReleaseError(f"{path} is no whole .npy file ({error}); fetch it again.") from error
    return flat.reshape(shape, order="F" if fortran_order else "C")
