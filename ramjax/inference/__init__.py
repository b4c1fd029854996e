"""A network on your own radiographs: placement, findings, files.

Used by the command `ramjax.predict` and by the API.
"""
