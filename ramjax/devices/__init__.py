"""Devices: the mesh, what is split over it, processes that work together, compiled programs, stopping.

Used by runs, steps and above.
"""
