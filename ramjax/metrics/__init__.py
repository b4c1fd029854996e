"""Metrics of predictions against annotations, in plain numpy without JAX; they can be used alone.

Used by the tasks and all above them.
"""
