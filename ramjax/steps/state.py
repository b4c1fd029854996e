"""The training state: how it is made and restored, and how the network is applied with it.

A network may hold more than parameters. Whatever its modules make in their constructors works, in the encoder, the
decoder and the heads alike:

* `nnx.BatchNorm`, and any `nnx.Variable` of your own that a call sets: kept in `TrainState.variables` from one step to
  the next, and in checkpoints. On a mesh, statistics are those of the whole batch. A variable that is first made in a
  call, as by `nnx.Module.sow`, is not kept.
* `nnx.Dropout(rate, rngs=rngs)`, and ``nnx.Dropout(rate, broadcast_dims=(1, 2, 3), rngs=rngs)`` on the residual branch
  of a block, which is stochastic depth or drop path (Huang et al., arXiv 1603.09382). Any stream of `nnx.Rngs` is
  seeded anew in each step, by the config's seed, the step, and the part of a batch that is taken in parts. So the
  state holds nothing random, and the numbers are the same on any number of devices and after a restart.
* A module that behaves differently in training has an attribute ``deterministic`` or ``use_running_average``, as those
  of Flax have; `nnx.Module.train` and `nnx.Module.eval` set it.
"""

import functools
import pathlib
import zlib
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from ramjax.config import Config
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.models.network import MultiTaskNetwork
from ramjax.runs import run_dir
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.balancing import init_balance
from ramjax.steps.optimizer import check_rules, make_optimizer
from ramjax.tasks import heads_of, make_tasks
from ramjax.trees import name_of


@flax.struct.dataclass
class TrainState:
    """Everything that training changes.

    Attributes:
      step: int32, optimiser steps taken.
      params: float32 parameters.
      opt_state: of the optimiser.
      ema_params: exponential moving average of `params`, used in evaluation.
      variables: what the network holds beside parameters and random streams, such as batch statistics; a nested dict,
        empty for the default network.
      ema_variables: the variables that go with `ema_params`.
      balance: what the balancer of the tasks remembers; empty where it is ``fixed``.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema_params: Any
    variables: Any = flax.struct.field(default_factory=dict)
    ema_variables: Any = flax.struct.field(default_factory=dict)
    balance: Any = flax.struct.field(default_factory=dict)


def init_state(config: Config) -> TrainState:
    """Returns the state before the first step, a function of the config alone.

    To be traced for its shapes alone (`jax.eval_shape`): as one program it takes half a minute to compile, which
    `ramjax.models.initializers` avoids.
    """
    params, variables = split_network(make_network(config, config.seed))
    return jax.jit(functools.partial(_state_of, config))(params, variables)


def place_first_state(config: Config, abstract: TrainState) -> TrainState:
    """`init_state`, computed by each host and put on its devices as `abstract_state` says.

    Raises:
      RunError: JAX may not use the CPU.
    """
    try:
        host = jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        allowed = jax.config.jax_platforms
        raise RunError(f"JAX_PLATFORMS is {allowed}, but a network begins on the CPU; set {allowed},cpu.") from error
    with jax.default_device(host):
        state = init_state(config)
    return jax.tree.map(place, state, abstract)


def place(leaf: jax.Array | np.ndarray, where: jax.ShapeDtypeStruct) -> jax.Array:
    """Puts an array that every process has on the devices."""
    values = np.asarray(leaf, where.dtype)
    return jax.make_array_from_callback(where.shape, where.sharding, lambda index: values[index])


def place_seed(config: Config, mesh: Mesh) -> jax.Array:
    """The seed as a uint32 that is whole on every device: an argument of programs that do not depend on it."""
    return place(np.uint32(config.seed), jax.ShapeDtypeStruct((), np.uint32, sharding=sharding.replicated(mesh)))


def _state_of(config: Config, params: Any, variables: Any) -> TrainState:
    check_rules(config.optimizer, params)
    names = [task.name for task in make_tasks(config)]
    optimizer = make_optimizer(config.optimizer, config.train.steps, names)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema_params=jax.tree.map(jnp.copy, params),
        variables=variables,
        ema_variables=jax.tree.map(jnp.copy, variables),
        balance=init_balance(config),
    )


def abstract_state(config: Config, mesh: Mesh) -> TrainState:
    """The training state as ShapeDtypeStructs with the shardings of training, for restoring a checkpoint."""
    shapes = jax.eval_shape(functools.partial(init_state, config))
    return _placed(shapes, sharding.state_shardings(config.mesh, mesh, shapes))


def restore_best(workdir: str | pathlib.Path, config: Config, mesh: Mesh) -> tuple[TrainState, str]:
    """What evaluation needs of the checkpoint that was best on validation, and what it is in words.

    That is the step and the averages; the state's other entries are empty. They are whole on every device of `mesh`, so
    that each can take images of its own. Nothing in `workdir` is changed.

    Raises:
      RunError: there is no whole checkpoint, or it holds another network.
    """
    with Checkpoints(pathlib.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        shapes = jax.eval_shape(functools.partial(init_state, config))
        shapes = shapes.replace(params={}, opt_state={}, variables={}, balance={})
        whole = jax.tree.map(lambda _: sharding.replicated(mesh), shapes)
        state = checkpoints.restore_best(_placed(shapes, whole), partly=True)
        if state is None:
            raise RunError(f"{workdir} has no checkpoint; train first, with python -m ramjax.main.")
        return state, "the best on validation" if int(state.step) == checkpoints.best_step else "the latest"


def restore_averaged(workdir: str | pathlib.Path, config: Config, mesh: Mesh) -> tuple[list[TrainState], str]:
    """The states of `restore_best`, of this run and of those that `config.evaluation.ensemble` names.

    Raises:
      RunError: there is no whole checkpoint, or a network, its tasks or its canvas differ.
    """
    state, chosen = restore_best(workdir, config, mesh)
    states = [state]
    for name in config.evaluation.ensemble:
        workdir_of = pathlib.Path(name).expanduser()
        other = run_dir.load_config(workdir_of)
        if (other.model, other.tasks, other.data.canvas) != (config.model, config.tasks, config.data.canvas):
            raise RunError(
                f"evaluation.ensemble names {name}, whose network, tasks or canvas differ; name runs of the same."
            )
        states.append(restore_best(workdir_of, other, mesh)[0])
    return states, chosen


def _placed(shapes: TrainState, shardings: TrainState) -> TrainState:
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where), shapes, shardings
    )


def make_apply(config: Config) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    """Returns ``apply(params, image, boxes=None, heads=None, variables={}) -> outputs``: the network in evaluation."""

    def apply(params, image, boxes=None, heads=None, variables=MappingProxyType({})):
        network = restore_network(config, params, variables, jax.random.key(0))
        network.eval()
        return network(image, boxes, heads)

    return apply


def make_train_apply(config: Config) -> Callable[..., tuple[dict[str, dict[str, jax.Array]], Any]]:
    """Returns ``apply(params, variables, key, image, boxes) -> (outputs, variables)``: the network in training.

    `key` seeds its random streams; the variables are returned as the call has left them.
    """

    def apply(params, variables, key, image, boxes):
        network = restore_network(config, params, variables, key)
        network.train()
        outputs = network(image, boxes)
        return outputs, _same_keys(nnx.to_pure_dict(nnx.state(network, *_KINDS)[2]), variables)

    return apply


_KINDS = (nnx.Param, nnx.RngState, ...)
"""What a network holds: parameters, random streams, and all else."""


def make_network(config: Config, seed: int) -> MultiTaskNetwork:
    """The network with its first parameters, which are a function of the config and the seed."""
    tasks = make_tasks(config)
    finder = next((task.name for task in tasks if task.finds_boxes), None)
    masking = next((task.masking for task in tasks if task.hides), None)
    return MultiTaskNetwork(
        config.model,
        heads_of(tasks),
        rngs=nnx.Rngs(seed),
        finds_boxes=finder,
        detail=config.data.canvas.detail,
        masking=masking,
    )


@functools.lru_cache(maxsize=16)
def _abstract_network(config: Config) -> tuple[Any, ...]:
    """The graph of the network, and the shapes of its `_KINDS`. A run traces its network three times or more."""
    return nnx.split(nnx.eval_shape(lambda: make_network(config, 0)), *_KINDS)


def restore_network(config: Config, params: Any, variables: Any, key: jax.Array) -> MultiTaskNetwork:
    """The network with these parameters and variables, its random streams seeded by `key`."""
    graphdef, *states = _abstract_network(config)
    states = [jax.tree.map(lambda leaf: leaf, state) for state in states]  # copies, which are filled in below
    streams = jax.tree_util.tree_map_with_path(functools.partial(_seed, key), nnx.to_pure_dict(states[1]))
    expected = jax.tree.structure(nnx.to_pure_dict(states[2]))
    if jax.tree.structure(dict(variables)) != expected:
        raise ValueError(f"The network has the variables {expected}; give them, as TrainState.variables is.")
    for state, values in zip(states, (params, streams, variables), strict=True):
        nnx.replace_by_pure_dict(state, values)
    return nnx.merge(graphdef, *states)


def _seed(key: jax.Array, path: jax.tree_util.KeyPath, leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """The key of a stream, a function of its place in the network, whatever other streams there are; its count is 0."""
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.zeros(leaf.shape, leaf.dtype)
    name = name_of(path)
    return jax.random.split(jax.random.fold_in(key, zlib.crc32(name.encode())), leaf.shape)


def _same_keys(tree: Any, like: Any) -> Any:
    """The tree without what a call has added to it."""
    return {name: _same_keys(tree[name], child) for name, child in like.items()} if isinstance(like, dict) else tree


def split_network(network: MultiTaskNetwork) -> tuple[Any, Any]:
    """The parameters and the variables of a network, as the steps take them."""
    params, _, variables = map(nnx.to_pure_dict, nnx.state(network, *_KINDS))
    return params, variables
