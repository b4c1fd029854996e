"""Writes what a run measures: to metrics.jsonl always, and to the trackers that the config names."""

from ramjax.training.writers.tracker import Tracker
from ramjax.training.writers.writer import Writer

__all__ = ["Tracker", "Writer"]
