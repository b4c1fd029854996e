"""Finished runs as a page, tables and charts.

Used by the command `ramjax.report`.
"""

REPLICATES = 1000
"""Bootstrap replicates of an interval."""
