"""Synthetic hands: geometry, disease and X-ray rendering. `cases` lists a data set's radiographs, `render` makes one."""

from ramjax.phantom.config import Case, PhantomConfig, cases
from ramjax.phantom.hand import ErosionTruth, Phantom, Truth, render

__all__ = ("Case", "ErosionTruth", "Phantom", "PhantomConfig", "Truth", "cases", "render")
