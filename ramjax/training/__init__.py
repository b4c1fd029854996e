"""The training loop, its progress, profile and logs.

Used by the command `ramjax.main`.
"""
