"""Many runs: planned, run, in one table.

Used by `launch/sweep.py`.
"""
