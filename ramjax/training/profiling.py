"""A profile of some training steps, for XProf or TensorBoard's profile plugin."""

import contextlib
import logging
import pathlib
from typing import Any

import jax

from ramjax.config import ProfileConfig

log = logging.getLogger(__name__)


class Profile:
    """Traces the steps of `config`, on the first process only.

    Args:
      config: which steps.
      folder: where the trace goes: ``plugins/profile/TIME/HOST.xplane.pb`` in it.
    """

    def __init__(self, config: ProfileConfig, folder: pathlib.Path):
        self._config, self._folder = config, folder
        self._wanted = bool(config.steps) and jax.process_index() == 0
        self._tracing = False

    def step(self, number: int) -> contextlib.AbstractContextManager[Any]:
        """A context for training step `number`, counted from 1; starts the trace where it is due."""
        if self._wanted and not self._tracing and self._config.first <= number <= self._config.last:
            jax.profiler.start_trace(self._folder)
            self._tracing = True
        if self._tracing:
            return jax.profiler.StepTraceAnnotation("train", step_num=number)
        return contextlib.nullcontext()

    def finish(self, number: int, outputs: Any) -> None:
        """Ends the trace when step `number` was the last wanted, once its `outputs` are there."""
        if self._tracing and number >= self._config.last:
            jax.block_until_ready(outputs)
            self.close()

    def close(self) -> None:
        """Ends a trace that is under way, and says where it is."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = self._wanted = False
            log.info("Profile: %s   Look at it: pip install xprof; xprof --logdir=%s", self._folder, self._folder)
