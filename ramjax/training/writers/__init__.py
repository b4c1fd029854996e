"""Where the course of a run is written: metrics.jsonl always, and the trackers that the config names."""

from ramjax.training.writers.tracker import Tracker
from ramjax.training.writers.writer import Writer

__all__ = ["Tracker", "Writer"]
