"""What reports and pictures are made of: tables, charts, drawings.

Used by the tasks, evaluation, inference and reporting.
"""
