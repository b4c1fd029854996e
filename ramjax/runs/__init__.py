"""A run on disk: its directory and its checkpoints.

Used by the steps and all above them.
"""
