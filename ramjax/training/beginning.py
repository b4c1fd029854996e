"""A training that begins with the parameters of another network: what is taken, and where it comes from."""

import logging
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import Mesh

from ramjax import files
from ramjax.config import Config, ConfigError
from ramjax.inference import network as networks
from ramjax.models import pretrained
from ramjax.models.encoders import ENCODERS
from ramjax.runs import weights
from ramjax.steps import state as states
from ramjax.steps.optimizer import begin_from
from ramjax.steps.state import TrainState
from ramjax.trees import by_name, name_of

TABLE = "init.txt"
"""The file in the run directory that tells where each parameter comes from."""

RANDOM = "random"

PUBLISHED = "encoder/network/"
"""Where the parameters of a published encoder are in the network."""

log = logging.getLogger(__name__)


def start_from_source(config: Config, state: TrainState, abstract: TrainState, workdir: pathlib.Path) -> TrainState:
    """The state before the first step with the averaged parameters of `config.init.source`, as `config.init` says.

    Their statistics (`TrainState.variables`) come along. Writes `TABLE` and logs a summary of it.

    Args:
      config: of the run.
      state: with random parameters, placed.
      abstract: of `abstract_state`.
      workdir: the run directory.

    Raises:
      ConfigError: a parameter has another shape in the source, or nothing is taken.
      RunError: the source is no trained network, and no file of the encoder's parameters.
    """
    here = by_name(abstract.params) | by_name(abstract.variables)
    there = _source(config, here, jax.tree.leaves(abstract)[0].sharding.mesh)
    origins = origins_of(config, here, there)

    def begin(path, leaf, where):
        origin = origins[name_of(path)]
        return leaf if origin == RANDOM else states.place(there[origin], where)

    if jax.process_index() == 0:
        files.write_text(workdir / TABLE, table(origins, config.init.source))
    log.info("%s", summary(origins, here, config.init.source))
    fields = ("params", "variables", "ema_params", "ema_variables")
    begun = {
        name: jax.tree_util.tree_map_with_path(begin, getattr(state, name), getattr(abstract, name)) for name in fields
    }
    return state.replace(**begun, opt_state=begin_from(state.opt_state, begun["params"]))


def _source(config: Config, here: Mapping[str, Any], mesh: Mesh) -> dict[str, Any]:
    """The arrays of the source by path: those of a trained network, or of the encoder of another library's."""
    source, encoder = config.init.source, config.model.encoder
    if not pretrained.is_foreign(source) and not weights.is_foreign(source):
        _, state = networks.restore(source, mesh)
        return by_name(state.ema_params) | by_name(state.ema_variables)
    if encoder not in ENCODERS:
        raise ConfigError(
            f"init.source: {source} is of another library, but model.encoder is {encoder}; set model.encoder to the "
            f"network that it is of: {', '.join(ENCODERS)}."
        )
    published = ENCODERS[encoder]
    held = published.held(name.removeprefix(PUBLISHED) for name in here if name.startswith(PUBLISHED))
    expected = {name: here[PUBLISHED + name].shape for name in held}
    tensors = pretrained.convert(pretrained.read(source), published.renames, expected, source, published.unused)
    return {PUBLISHED + name: tensor for name, tensor in tensors.items()}


def origins_of(config: Config, here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, str]:
    """Where each parameter comes from: its name in the source, or `RANDOM`.

    Args:
      config: whose `init` says what is taken.
      here, there: arrays of the network and of the source, or ShapeDtypeStructs, by path.

    Raises:
      ConfigError: a parameter has another shape in the source, two of the source's become one, or nothing is taken.
    """
    init, origins = config.init, dict.fromkeys(here, RANDOM)
    for name in there:
        target = _target(init.load, name)
        if target not in here or any(re.search(pattern, target) for pattern in init.leave_out):
            continue
        if here[target].shape != there[name].shape:
            raise ConfigError(
                f"init.source: {name} is {there[name].shape} in {init.source}, but {target} is {here[target].shape} "
                f"here; set model.* as it is there, or leave it out with init.leave_out=('^{target}$',)."
            )
        if origins[target] != RANDOM:
            raise ConfigError(f"init.load takes both {origins[target]} and {name} for {target}; let it take one.")
        origins[target] = name
    if set(origins.values()) <= {RANDOM}:
        raise ConfigError(
            f"init takes nothing of {init.source}: it has {next(iter(there))} and the like, this network "
            f"{next(iter(here))}; see init.load and init.leave_out."
        )
    return origins


def summary(origins: Mapping[str, str], here: Mapping[str, Any], source: str) -> str:
    """How many parameters of each part of the network come from the source, as lines."""
    parts: dict[str, list[int]] = {}
    for name, origin in origins.items():
        path = name.split("/")
        of = parts.setdefault("/".join(path[: 2 if path[0] == "heads" else 1]), [0, 0])
        of[0] += math.prod(here[name].shape) * (origin != RANDOM)
        of[1] += math.prod(here[name].shape)
    width = max(map(len, parts))
    lines = [f"  {part:{width}}  {taken:>12,} of {all_of:>12,}" for part, (taken, all_of) in parts.items()]
    return "\n".join([f"Parameters taken from {source}, the others are random:", *lines])


def table(origins: Mapping[str, str], source: str) -> str:
    """A line of each parameter and where it comes from."""
    width = max(map(len, origins))
    lines = (
        f"{name:{width}}  {RANDOM if origin == RANDOM else f'{source}: {origin}'}" for name, origin in origins.items()
    )
    return "\n".join(lines) + "\n"


def _target(load: tuple[str, ...], name: str) -> str | None:
    """What a parameter of the source is called here; None if it is not taken."""
    if not load:
        return name
    for rule in load:
        pattern, renamed, to = rule.partition("=")
        if re.search(pattern, name):
            return re.sub(pattern, to, name) if renamed else name
    return None
