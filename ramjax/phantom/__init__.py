"""Synthetic hands: `cases` lists the radiographs of a data set, `render` makes one with its exact truth.

Used by the builder `ram_phantom`, and by whoever wants hands whose truth is known.
"""

from ramjax.phantom.config import Case, PhantomConfig, cases
from ramjax.phantom.hand import ErosionTruth, Phantom, Truth, render

__all__ = ("Case", "ErosionTruth", "Phantom", "PhantomConfig", "Truth", "cases", "render")
