"""A network over a split: validation on the canvas, the test on the radiographs' own pixels.

Used by training and by the API.
"""
