"""Finished runs as a page, tables and charts.

Used by the command `ramjax.report`.
"""
