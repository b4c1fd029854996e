"""A network on somebody's radiographs: placement, findings, files.

Used by the command `ramjax.predict`.
"""
