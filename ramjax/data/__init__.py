"""From a record on disk to a batch: canvas, labels, augmentation, pipeline; and the grids that metrics are measured on.

Used by the tasks and above.
"""
