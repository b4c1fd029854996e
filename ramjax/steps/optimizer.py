"""The optimiser: AdamW with warmup, cosine decay and clipping; a head whose task has no label is not updated."""

from collections.abc import Sequence

import jax
import optax

from ramjax.config import OptimizerConfig

_SHARED = "shared"


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate over `steps`: linear from 0 in `warmup_steps`, then a cosine to `final_fraction` of the peak."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=max(steps, config.warmup_steps + 1),
        end_value=config.learning_rate * config.final_fraction,
    )


def make_optimizer(config: OptimizerConfig, steps: int, tasks: Sequence[str]) -> optax.GradientTransformationExtraArgs:
    """Clipping by global norm, then AdamW (Loshchilov and Hutter, arXiv 1711.05101), biases and scales not decayed.

    Without labels, momentum and weight decay would still change a head. So ``update`` takes ``labelled={task: bool
    ()}``. Where it is False, ``heads/<task>`` keeps its parameters, its moments and their count; only the schedule
    advances. If every task has labels, this is plain AdamW.

    Args:
      config: the settings.
      steps: of the whole training, for the schedule.
      tasks: the names of the heads.
    """
    adam = optax.chain(
        optax.scale_by_adam(),
        optax.add_decayed_weights(
            config.weight_decay, mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
        ),
    )
    heads = {
        task: optax.conditionally_mask(adam, lambda step, labelled, task=task: labelled[task], forward_extra_args=True)
        for task in tasks
    }
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.partition({_SHARED: adam, **heads}, _labels),
        optax.scale_by_learning_rate(make_schedule(config, steps)),
    )


def _labels(params: optax.Params) -> optax.Params:
    """Which optimiser updates which parameters, as a prefix of their tree."""
    return dict.fromkeys(params, _SHARED) | {"heads": {task: task for task in params["heads"]}}
