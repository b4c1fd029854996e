"""Devices: the mesh and what is split over it, several processes, compiled programs, stopping on a signal.

Used by runs, steps and above.
"""
