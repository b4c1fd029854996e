"""Measures of predictions against annotations, plain numpy without JAX, usable alone.

Used by the tasks and all above them.
"""
