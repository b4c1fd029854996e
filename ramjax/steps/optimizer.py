"""The optimiser and its learning rate; a head whose task has no label is not updated.

=================  ====================================================================================================
``adamw``          Loshchilov and Hutter, arXiv 1711.05101
``sgd``            Nesterov's momentum of 0.9 (Sutskever et al., ICML 2013)
``lion``           Chen et al., arXiv 2302.06675; wants about a tenth of AdamW's learning rate and ten times its decay
``muon``           Jordan et al., 2024 (kellerjordan.github.io/posts/muon): kernels move by orthogonal matrices, a
                   convolution's as a matrix of all that enters by outputs, scaled to the size of AdamW's updates (Liu
                   et al., arXiv 2502.16982); all else by Adam
``adafactor``      Shazeer and Stern, arXiv 1804.04235; the learning rate is relative to the size of a parameter
``schedule_free``  AdamW without momentum, whose average takes the place of a falling learning rate (Defazio et al.,
                   arXiv 2405.15682); gradients are taken between the parameters that move and their average
=================  ====================================================================================================

All but the learning rate and the decay are as in the papers, which are optax's defaults. Weight decay is decoupled:
each step takes away the learning rate times the decay of a parameter.
"""

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import optax

from ramjax.config import ConfigError, OptimizerConfig
from ramjax.config.training import split_rule
from ramjax.trees import by_name, name_of

_SHARED, _FROZEN = "shared", "(frozen)"

_BETWEEN = 0.9
"""Where `schedule_free` takes gradients: at so much of the average and the rest of the parameters that move."""


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate over `steps`: up in `warmup_steps`, then by `config.schedule` to `final_fraction` of the peak."""
    peak, final, warmup = config.learning_rate, config.learning_rate * config.final_fraction, config.warmup_steps
    left = max(steps - warmup, 1)
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0, peak, warmup, warmup + left, final)
    if config.schedule == "one_cycle":  # from a 25th of the peak, as in Smith and Topin, arXiv 1708.07120
        cycle = {max(warmup, 1): 25.0, max(warmup, 1) + left: config.final_fraction}
        return optax.piecewise_interpolate_schedule("cosine", peak / 25, cycle)
    after = {
        "constant": lambda: optax.constant_schedule(peak),
        "linear": lambda: optax.linear_schedule(peak, final, left),
        "step": lambda: optax.piecewise_constant_schedule(peak, _drops(config, steps)),
    }[config.schedule]()
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def _drops(config: OptimizerConfig, steps: int) -> dict[int, float]:
    """The factor at each step, counted after the warmup, where the learning rate drops."""
    at = [max(round(share * steps) - config.warmup_steps, 0) for share in config.drops]
    return {step: config.final_fraction ** (at.count(step) / len(at)) for step in at}


def make_optimizer(config: OptimizerConfig, steps: int, tasks: Sequence[str]) -> optax.GradientTransformationExtraArgs:
    """Clipping by global norm, then the optimiser of that name; biases and scales are not decayed.

    Without labels, momentum and weight decay would still change a head. So ``update`` takes ``labelled={task: bool
    ()}``. Where it is False, ``heads/<task>`` keeps its parameters, its moments and their count; only the schedule
    advances, but for `schedule_free`, whose heads have a warmup of their own. If every task has labels, this is the
    plain optimiser.

    Args:
      config: the settings.
      steps: of the whole training, for the schedule.
      tasks: the names of the heads.
    """
    schedule = make_schedule(config, steps)
    part = optax.chain(_MAKE[config.name](), _add_decayed_weights(config))
    rated = [optax.scale_by_learning_rate(schedule)]
    if config.rates:
        rated.append(optax.stateless(lambda updates, params: _scaled(config, updates)))
    if config.name == "schedule_free":  # The average is of what has moved, so that the rate belongs into it.
        part, rated = optax.contrib.schedule_free(optax.chain(part, *rated), schedule, _BETWEEN), []
    heads = {
        task: optax.conditionally_mask(part, lambda step, labelled, task=task: labelled[task], forward_extra_args=True)
        for task in tasks
    }
    parts = {_SHARED: part, **heads} | ({_FROZEN: optax.set_to_zero()} if config.frozen else {})
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.partition(parts, functools.partial(_labels, config)),
        *rated,
    )


def average(
    config: OptimizerConfig,
    before: optax.Params,
    params: optax.Params,
    opt_state: optax.OptState,
    decay: jax.Array,
) -> optax.Params:
    """The averaged parameters after a step: the optimiser's own average where it keeps one, else a moving one.

    Args:
      config: the settings.
      before: the averaged parameters before the step.
      params, opt_state: after the step.
      decay: of the moving average.
    """
    if config.name != "schedule_free":
        return _keep_frozen(config, optax.incremental_update(params, before, 1 - decay), before)
    moving = {name: leaf for state in _schedule_free(opt_state) for name, leaf in by_name(state.z).items()}

    def of(path, param, old):
        if name_of(path) not in moving:  # it is frozen
            return old
        return (param - (1 - _BETWEEN) * moving[name_of(path)]) / _BETWEEN

    return jax.tree_util.tree_map_with_path(of, params, before)


def begin_from(opt_state: optax.OptState, params: optax.Params) -> optax.OptState:
    """The optimiser's state before the first step, placed as it is, now from those parameters."""
    values = by_name(params)

    def begin(node):
        if not _is_schedule_free(node):
            return node
        copy = lambda path, leaf: jax.device_put(values[name_of(path)], leaf.sharding, may_alias=False)  # noqa: E731
        return node._replace(z=jax.tree_util.tree_map_with_path(copy, node.z))

    return jax.tree.map(begin, opt_state, is_leaf=_is_schedule_free)


def _schedule_free(opt_state: optax.OptState) -> list[optax.contrib.ScheduleFreeState]:
    """The states of the parts of the network."""
    return list(filter(_is_schedule_free, jax.tree.leaves(opt_state, is_leaf=_is_schedule_free)))


def _is_schedule_free(node: Any) -> bool:
    return isinstance(node, optax.contrib.ScheduleFreeState)


def stop_frozen(config: OptimizerConfig, params: optax.Params) -> optax.Params:
    """The parameters, those of `config.frozen` as constants: no gradient of them is computed."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jax.lax.stop_gradient(leaf) if _is_frozen(config, name_of(path)) else leaf, params
    )


def check_rules(config: OptimizerConfig, params: Any) -> None:
    """Checks that rules fit a network.

    Raises:
      ConfigError: one of `config.rates`, `config.decays` or `config.frozen` matches no parameter, or all are frozen.
    """
    names = list(by_name(params))
    if all(_is_frozen(config, name) for name in names):
        raise ConfigError(f"optimizer.frozen is {config.frozen}, which leaves no parameter to train; freeze fewer.")
    for key in ("rates", "decays", "frozen"):
        for rule in getattr(config, key):
            pattern = rule if key == "frozen" else split_rule(key, rule)[0]
            if not any(re.search(pattern, name) for name in names):
                raise ConfigError(
                    f"optimizer.{key} has {rule!r}, which matches no parameter; they have names such as {names[0]} and "
                    f"{names[-1]}, see parameters.txt of a run."
                )


def _muon() -> optax.GradientTransformation:
    """Muon with a learning rate of 1, whose sign is turned back for what follows."""
    moved = optax.contrib.muon(1.0, muon_weight_dimension_numbers=_matrices, consistent_rms=0.2)
    return optax.chain(moved, optax.scale(-1.0))


def _matrices(params: Any) -> Any:
    """How Muon takes kernels as matrices; None for what it leaves to Adam."""

    def axes(path, leaf):
        if leaf.ndim < 2 or not name_of(path).endswith("kernel"):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return jax.tree_util.tree_map_with_path(axes, params)


_MAKE: dict[str, Callable[[], optax.GradientTransformation]] = {
    "adamw": optax.scale_by_adam,
    "sgd": lambda: optax.trace(decay=0.9, nesterov=True),
    "lion": optax.scale_by_lion,
    "muon": _muon,
    "schedule_free": lambda: optax.scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True),
    "adafactor": lambda: optax.chain(
        optax.scale_by_factored_rms(), optax.clip_by_block_rms(1.0), optax.scale_by_param_block_rms()
    ),
}
"""What makes an update of a gradient, before decay and learning rate."""


def _add_decayed_weights(config: OptimizerConfig) -> optax.GradientTransformation:
    if not config.decays:
        return optax.add_decayed_weights(config.weight_decay, mask=lambda params: jax.tree.map(_is_weight, params))

    def add(updates, params):
        def decayed(path, update, param):
            usual = config.weight_decay if _is_weight(param) else 0.0
            return update + _number(config, "decays", path, usual) * param

        return jax.tree_util.tree_map_with_path(decayed, updates, params)

    return optax.stateless(add)


def _is_weight(leaf: jax.Array) -> bool:
    return leaf.ndim > 1


def _scaled(config: OptimizerConfig, updates: optax.Updates) -> optax.Updates:
    return jax.tree_util.tree_map_with_path(lambda path, update: _number(config, "rates", path, 1.0) * update, updates)


def _number(config: OptimizerConfig, key: str, path: jax.tree_util.KeyPath, usual: float) -> float:
    """The number of the first rule that matches a parameter, `usual` without one."""
    rules = (split_rule(key, rule) for rule in getattr(config, key))
    return next((float(number) for pattern, number in rules if re.search(pattern, name_of(path))), usual)


def _labels(config: OptimizerConfig, params: optax.Params) -> optax.Params:
    """Which optimiser updates which parameters, as a prefix of their tree where none is frozen."""
    labels = dict.fromkeys(params, _SHARED) | {"heads": {task: task for task in params["heads"]}}
    if not config.frozen:
        return labels
    return jax.tree_util.tree_map_with_path(
        lambda path, label: _FROZEN if _is_frozen(config, name_of(path)) else label,
        jax.tree.broadcast(labels, params),
    )


def _keep_frozen(config: OptimizerConfig, after: optax.Params, before: optax.Params) -> optax.Params:
    """Averages after a step, those of `config.frozen` as before it: rounding would change them."""
    return jax.tree_util.tree_map_with_path(
        lambda path, new, old: old if _is_frozen(config, name_of(path)) else new, after, before
    )


def _is_frozen(config: OptimizerConfig, name: str) -> bool:
    return any(re.search(pattern, name) for pattern in config.frozen)
