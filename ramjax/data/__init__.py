"""From a record on disk to a batch: canvas, labels, augmentation, pipeline, and grids to measure on.

Used by the tasks and above.
"""
