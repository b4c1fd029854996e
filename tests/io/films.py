"""One known film, and that film in every type that an image file may store it in."""

import numpy as np

BITS = {
    "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64, "int8": 8, "int16": 16, "int32": 32, "int64": 64,
    "float16": 16, "float32": 32, "float64": 64,
}  # fmt: skip


def film(height: int = 96, width: int = 72) -> np.ndarray:
    """uint8 (height, width): a slanted bright shape with a mark at one corner; 0 and 255 cover 1 % or more each."""
    y, x = np.mgrid[:height, :width]
    shade = 300 - 9 * np.hypot((x - width * 0.45) * 1.3, (y - height * 0.55) * 0.8) + 20 * np.sin(x / 5)
    grey = np.clip(shade, 0, 255).astype(np.uint8)
    grey[4:9, 5:18] = 200
    return grey


def stored(grey: np.ndarray, dtype: str, bits: int | None = None) -> np.ndarray:
    """The film in `dtype`, 0 to 255 spread over its whole range (floats: 0 to 1); `bits` of it, where it has fewer."""
    if dtype.startswith("float"):
        return (grey / 255).astype(dtype)
    info = np.iinfo(dtype)
    if bits is not None and bits < info.bits:
        return np.rint(grey / 255 * (2**bits - 1)).astype(dtype)
    span = (int(info.max) - int(info.min)) // 255
    return np.array([int(info.min) + span * int(value) for value in grey.ravel()], dtype).reshape(grey.shape)
