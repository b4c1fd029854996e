"""Tables, charts and drawings, of which reports and pictures are made.

Used by the tasks, evaluation, inference and reporting.
"""
