"""Networks: encoders, decoders and their building blocks.

Used by the tasks' heads and by the steps.
"""
