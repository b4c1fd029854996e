"""The training loop, and what watches over it.

Used by the command `ramjax.main`.
"""
