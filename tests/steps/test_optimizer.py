"""The optimisers against those of optax, at rest where a task has no label; the learning rate by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ramjax.config import ConfigError, OptimizerConfig
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.optimizer import average, begin_from, check_rules, make_optimizer, make_schedule
from ramjax.steps.state import TrainState
from tests.training.heads import adam_of

CONFIG = OptimizerConfig(
    learning_rate=0.01, warmup_steps=3, final_fraction=0.1, weight_decay=0.1, clip_norm=1.0, ema_decay=0.0
)
STEPS = 12
NAMES = ("adamw", "sgd", "lion", "muon", "adafactor", "schedule_free")
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


def changed(**keys):
    if keys.get("name") == "schedule_free":
        keys.setdefault("schedule", "constant")
    return dataclasses.replace(CONFIG, **keys)


def of_optax(name, schedule):
    """The optimiser with the decay of `CONFIG` by optax's own composition."""
    weights = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)  # noqa: E731
    decay = {"weight_decay": CONFIG.weight_decay}
    if name == "adamw":
        return adamw(schedule)
    if name == "schedule_free":
        return optax.contrib.schedule_free(optax.adamw(schedule, b1=0.0, mask=weights, **decay), schedule, 0.9)
    if name == "lion":
        return optax.lion(schedule, mask=weights, **decay)
    if name == "muon":  # the mask is False where Adam moves the parameters
        return optax.contrib.muon(schedule, weight_decay_mask=weights, consistent_rms=0.2, **decay)
    add = optax.add_decayed_weights(CONFIG.weight_decay, weights)
    if name == "sgd":
        sgd = optax.sgd(1.0, momentum=0.9, nesterov=True)
        return optax.chain(sgd, optax.scale(-1.0), add, optax.scale_by_learning_rate(schedule))
    return optax.chain(optax.adafactor(), optax.scale(-1.0), add, optax.scale_by_learning_rate(schedule))


def assert_close(one, other):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), one, other)


def train(config, params):
    """The parameters after each of `STEPS` steps with labels of both tasks."""
    optimizer = make_optimizer(config, STEPS, ("bones", "joints"))
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(STEPS):
        labelled = {"bones": jnp.bool_(True), "joints": jnp.bool_(True)}
        updates, state = update(gradients(step, params), state, params, labelled=labelled)
        params = optax.apply_updates(params, updates)
        yield params


@pytest.mark.parametrize("name", NAMES)
def test_with_every_task_labelled_it_is_that_of_optax(name):
    expected = make_params()
    schedule = make_schedule(changed(name=name), STEPS)
    reference = optax.chain(optax.clip_by_global_norm(CONFIG.clip_norm), of_optax(name, schedule))
    state = reference.init(expected)
    for step, params in enumerate(train(changed(name=name), expected)):
        updates, state = reference.update(gradients(step, expected), state, expected)
        expected = optax.apply_updates(expected, updates)
        assert_close(params, expected)


@pytest.mark.parametrize("name", NAMES)
def test_its_state_comes_back_from_a_checkpoint(name, tmp_path):
    """A step from the restored state is that from the state that was saved, to the last bit."""
    optimizer = make_optimizer(changed(name=name, warmup_steps=0), STEPS, ("bones", "joints"))
    params, labelled = make_params(), {"bones": jnp.bool_(True), "joints": jnp.bool_(True)}
    update = jax.jit(
        lambda step, state, params: optimizer.update(gradients(step, params), state, params, labelled=labelled)
    )
    _, opt_state = update(0, optimizer.init(params), params)
    state = TrainState(step=jnp.int32(1), params=params, opt_state=opt_state, ema_params=params)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save_latest(1, state)
        checkpoints.wait()
        restored = checkpoints.restore_latest(jax.eval_shape(lambda: state))
    jax.tree.map(
        np.testing.assert_array_equal, update(1, restored.opt_state, restored.params), update(1, opt_state, params)
    )


def test_muon_moves_a_convolution_as_the_matrix_that_it_is():
    """A kernel (k, k, i, o) moves as one of (k k i, o) would, and by a matrix with equal singular values."""
    key = jax.random.key(5)
    kernel, gradient = jax.random.normal(key, (3, 3, 4, 8)), jax.random.normal(jax.random.fold_in(key, 1), (3, 3, 4, 8))
    optimizer = make_optimizer(changed(name="muon", weight_decay=0.0, warmup_steps=0, clip_norm=1e9), STEPS, ())

    def moved(values, by):
        params = {"encoder": {"kernel": values}, "heads": {}}
        updates, _ = optimizer.update({"encoder": {"kernel": by}, "heads": {}}, optimizer.init(params), params)
        return np.asarray(updates["encoder"]["kernel"]).reshape(36, 8)

    by_kernel = moved(kernel, gradient)
    np.testing.assert_allclose(by_kernel, moved(kernel.reshape(36, 8), gradient.reshape(36, 8)), rtol=1e-3, atol=1e-6)
    singular = np.linalg.svd(by_kernel, compute_uv=False)
    assert singular.max() / singular.min() < 2  # Newton-Schulz brings them near to each other; the gradient's differ
    assert np.linalg.cond(gradient.reshape(36, 8)) > 2
    assert np.sqrt(np.mean(by_kernel**2)) == pytest.approx(0.2 * CONFIG.learning_rate, rel=0.3)  # as AdamW's


def test_the_average_of_schedule_free_is_that_of_the_paper():
    """Algorithm 1 of arXiv 2405.15682 in float64, with a rate of its own for the encoder and a frozen head.

    z moves, x is the average of z weighted by the squared learning rate, and gradients are of y = 0.9 x + 0.1 z.
    """
    config = changed(name="schedule_free", clip_norm=1e9, rates=("encoder=0.5",), frozen=("heads/bones",))
    optimizer = make_optimizer(config, STEPS, ("bones", "joints"))
    first = jax.tree.map(lambda leaf: leaf + 1, make_params())  # as of a source, after others
    params, mean, state = first, first, begin_from(optimizer.init(make_params()), first)
    update, labelled = jax.jit(optimizer.update), {"bones": jnp.bool_(True), "joints": jnp.bool_(True)}
    x = z = y = np.asarray(first["encoder"]["kernel"], np.float64)
    squares, weights = np.zeros_like(x), 0.0
    for step in range(STEPS):
        grads = gradients(step, params)
        updates, state = update(grads, state, params, labelled=labelled)
        params = optax.apply_updates(params, updates)
        mean = average(config, mean, params, state, jnp.float32(0.5))

        gradient = np.asarray(grads["encoder"]["kernel"], np.float64)
        squares = 0.999 * squares + 0.001 * gradient**2
        scaled = gradient / (np.sqrt(squares / (1 - 0.999 ** (step + 1))) + 1e-8)
        rates = [config.learning_rate * min(number / config.warmup_steps, 1) for number in (step, step + 1)]
        z = z - 0.5 * rates[0] * (scaled + config.weight_decay * y)
        weights += rates[1] ** 2
        x = x + rates[1] ** 2 / weights * (z - x)
        y = 0.9 * x + 0.1 * z
        np.testing.assert_allclose(params["encoder"]["kernel"], y, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(mean["encoder"]["kernel"], x, rtol=1e-4, atol=1e-6)
    assert np.abs(x - y).max() > 1e-4
    jax.tree.map(np.testing.assert_array_equal, mean["heads"]["bones"], first["heads"]["bones"])


@pytest.mark.parametrize("name", NAMES[1:])
def test_an_unlabelled_head_rests_whatever_the_optimiser(name):
    params, labelled = make_params(), {"bones": jnp.bool_(True), "joints": jnp.bool_(False)}
    optimizer = make_optimizer(changed(name=name, warmup_steps=0), STEPS, ("bones", "joints"))
    updates, _ = optimizer.update(gradients(0, params), optimizer.init(params), params, labelled=labelled)
    assert all(not leaf.any() for leaf in jax.tree.leaves(updates["heads"]["joints"]))
    assert all(leaf.any() for leaf in jax.tree.leaves((updates["encoder"], updates["heads"]["bones"])))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"schedule": "cosine"}, {0: 0, 1: 1 / 4, 4: 1, 12: 0.55, 20: 0.1, 50: 0.1}),
        ({"schedule": "linear"}, {0: 0, 1: 1 / 4, 4: 1, 12: 0.55, 16: 0.325, 20: 0.1, 50: 0.1}),
        ({"schedule": "constant"}, {0: 0, 2: 1 / 2, 4: 1, 20: 1, 50: 1}),
        ({"schedule": "step"}, {0: 0, 4: 1, 9: 1, 10: 0.1**0.5, 14: 0.1**0.5, 15: 0.1, 20: 0.1}),
        ({"schedule": "step", "drops": (0.6,)}, {4: 1, 11: 1, 12: 0.1, 20: 0.1}),
        ({"schedule": "step", "drops": (0.5, 0.501)}, {9: 1, 10: 0.1}),
        ({"schedule": "one_cycle"}, {0: 1 / 25, 2: 13 / 25, 4: 1, 12: 0.55, 20: 0.1, 50: 0.1}),
        ({"schedule": "one_cycle", "final_fraction": 0.0}, {4: 1, 12: 0.5, 20: 0}),
        ({"schedule": "linear", "warmup_steps": 0}, {0: 1, 10: 0.55, 20: 0.1}),
        ({"schedule": "one_cycle", "warmup_steps": 0}, {1: 1, 21: 0.1}),
    ],
)
def test_the_learning_rate_by_hand(keys, expected):
    """Shares of the peak by step, of 20 steps after a warmup of 4."""
    config = changed(**{"warmup_steps": 4, **keys})
    schedule = make_schedule(config, 20)
    found = {step: float(schedule(jnp.asarray(step))) / config.learning_rate for step in expected}
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_training_shorter_than_its_warmup():
    for name in ("cosine", "linear", "step", "one_cycle", "constant"):
        rates = [float(make_schedule(changed(schedule=name, warmup_steps=50), 10)(jnp.asarray(s))) for s in range(10)]
        assert all(np.isfinite(rates)) and sorted(rates) == rates and rates[-1] < CONFIG.learning_rate


def test_rates_and_decays_by_the_names_of_parameters():
    """Each part against an AdamW of its own, with its rate and decay; the first rule that matches counts."""
    rules = {"rates": ("heads/joints=0.5", "^heads/=0.1"), "decays": ("encoder/.*kernel$=0", "heads/bones=0.3")}
    params = make_params()
    check_rules(changed(**rules), params)
    *_, params = train(changed(**rules, clip_norm=1e9), params)

    def alone(of, part, rate, decay, *, biases):
        values, schedule = part(of), make_schedule(CONFIG, STEPS)
        mask = lambda params: jax.tree.map(lambda leaf: biases or leaf.ndim > 1, params)  # noqa: E731
        optimizer = optax.adamw(lambda count: rate * schedule(count), weight_decay=decay, mask=mask)
        state = optimizer.init(values)
        for step in range(STEPS):
            updates, state = optimizer.update(part(gradients(step, of)), state, values)
            values = optax.apply_updates(values, updates)
        return values

    first = make_params()
    for part, rate, decay, biases in (
        (lambda tree: tree["encoder"], 1.0, 0.0, False),
        (lambda tree: tree["heads"]["bones"], 0.1, 0.3, True),
        (lambda tree: tree["heads"]["joints"], 0.5, CONFIG.weight_decay, False),
    ):
        assert_close(part(params), alone(first, part, rate, decay, biases=biases))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"rates": ("encoder",)}, r"rates has 'encoder'; write PATTERN=NUMBER"),
        ({"rates": ("encoder=-1",)}, r"rates has 'encoder=-1'; write PATTERN=NUMBER"),
        ({"rates": ("encoder=nan",)}, r"write PATTERN=NUMBER"),
        ({"decays": ("(=0.1",)}, r"decays has '\(', which is no regular expression"),
        (
            {"name": "schedule_free", "schedule": "cosine"},
            "name is schedule_free, but schedule is cosine; .*schedule=constant",
        ),
        ({"drops": ()}, r"drops is \(\); name shares"),
        ({"drops": (0.5, 0.5)}, r"drops is \(0.5, 0.5\)"),
        ({"drops": (0.5, 1.0)}, r"drops is \(0.5, 1.0\)"),
    ],
)
def test_settings_that_are_none(keys, said):
    with pytest.raises(ConfigError, match=said):
        changed(**keys)


def test_a_rule_that_matches_nothing_is_told_with_names_that_there_are():
    with pytest.raises(ConfigError, match=r"optimizer.decays has 'encodr=0', which matches no .*encoder/bias.*heads/"):
        check_rules(changed(decays=("encodr=0",)), make_params())


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
