"""Many runs that differ in a few keys of their config: planned, run, and put in one table (`launch/sweep.py`)."""
