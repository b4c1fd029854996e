"""Synthetic hands: `cases` lists the radiographs of a data set, `render` makes one with its exact truth."""

from ramjax.phantom.config import Case, PhantomConfig, cases
from ramjax.phantom.hand import ErosionTruth, Phantom, Truth, render

__all__ = ("Case", "ErosionTruth", "Phantom", "PhantomConfig", "Truth", "cases", "render")
