"""The optimiser against optax's AdamW, and at rest where a task has no label."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ramjax.config import OptimizerConfig
from ramjax.steps.optimizer import make_optimizer, make_schedule
from tests.training.heads import adam_of

CONFIG = OptimizerConfig(
    learning_rate=0.01, warmup_steps=3, final_fraction=0.1, weight_decay=0.1, clip_norm=1.0, ema_decay=0.0
)
STEPS = 12
LABELLED = [True, True, False, True, False, False, True, True, True, False, True, True]
"""Whether the steps' batches have labels of joints; of bones they always have."""


def make_params():
    encoder, bones, joints = (
        {"kernel": jax.random.normal(key, (4, 3)), "bias": jnp.ones(3)}
        for key in jax.random.split(jax.random.key(0), 3)
    )
    return {"encoder": encoder, "heads": {"bones": bones, "joints": joints}}


def gradients(step, params):
    """Of differing size, so that some are clipped."""
    keys = jax.random.split(jax.random.key(100 + step), len(jax.tree.leaves(params)))
    leaves = [
        0.3 * (1 + step % 3) * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, jax.tree.leaves(params), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


def adamw(schedule):
    return optax.adamw(
        schedule,
        weight_decay=CONFIG.weight_decay,
        mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
    )


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, other)


def test_with_every_task_labelled_it_is_adamw():
    params = expected = make_params()
    optimizer = make_optimizer(CONFIG, STEPS, ("bones", "joints"))
    reference = optax.chain(optax.clip_by_global_norm(CONFIG.clip_norm), adamw(make_schedule(CONFIG, STEPS)))
    state, reference_state = optimizer.init(params), reference.init(expected)
    update = jax.jit(optimizer.update)
    for step in range(STEPS):
        grads = gradients(step, params)
        updates, state = update(grads, state, params, labelled={"bones": jnp.bool_(True), "joints": jnp.bool_(True)})
        params = optax.apply_updates(params, updates)
        updates, reference_state = reference.update(grads, reference_state, expected)
        expected = optax.apply_updates(expected, updates)
        assert_close(params, expected)


def test_a_head_lives_through_its_labelled_steps_alone_by_the_common_schedule():
    """Each part against an AdamW of its own that sees only the labelled steps, at the learning rates of those steps."""
    params = make_params()
    optimizer = make_optimizer(CONFIG, STEPS, ("bones", "joints"))
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    schedule, steps_of_joints = make_schedule(CONFIG, STEPS), np.flatnonzero(LABELLED)
    alone = {"others": adamw(schedule), "joints": adamw(lambda count: schedule(jnp.array(steps_of_joints)[count]))}
    expected = {
        "others": {"encoder": params["encoder"], "bones": params["heads"]["bones"]},
        "joints": params["heads"]["joints"],
    }
    states = {name: alone[name].init(expected[name]) for name in alone}
    for step, labelled in enumerate(LABELLED):
        grads = gradients(step, params)
        if not labelled:
            grads["heads"]["joints"] = jax.tree.map(jnp.zeros_like, grads["heads"]["joints"])
        before, before_state = params, state
        updates, state = update(
            grads, state, params, labelled={"bones": jnp.bool_(True), "joints": jnp.bool_(labelled)}
        )
        params = optax.apply_updates(params, updates)

        clip = min(1.0, CONFIG.clip_norm / float(optax.tree.norm(grads)))
        grads = jax.tree.map(lambda grad, clip=clip: grad * clip, grads)
        mine = {
            "others": {"encoder": grads["encoder"], "bones": grads["heads"]["bones"]},
            "joints": grads["heads"]["joints"],
        }
        for name in ("others", "joints") if labelled else ("others",):
            updates, states[name] = alone[name].update(mine[name], states[name], expected[name])
            expected[name] = optax.apply_updates(expected[name], updates)
        assert_close({"encoder": params["encoder"], "bones": params["heads"]["bones"]}, expected["others"])
        assert_close(params["heads"]["joints"], expected["joints"])
        if not labelled:
            jax.tree.map(np.testing.assert_array_equal, params["heads"]["joints"], before["heads"]["joints"])
            jax.tree.map(np.testing.assert_array_equal, adam_of(state, "joints"), adam_of(before_state, "joints"))
