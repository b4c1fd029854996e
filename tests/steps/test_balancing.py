"""Task balancing: each method beside an answer that is known, and all of them in a training step."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from ramjax.config import BalanceConfig, Config, ConfigError
from ramjax.devices import sharding
from ramjax.runs.checkpoints import Checkpoints
from ramjax.steps.balancing import BALANCERS, add_up, by_gradients, by_losses, gram, init_balance
from ramjax.steps.balancing.by_gradients import Observed
from ramjax.steps.state import abstract_state, init_state
from ramjax.steps.train import make_balanced_gradient, make_train_step
from ramjax.tasks import make_tasks
from tests.steps.test_step import CONFIG, changed
from tests.tasks.batches import random_batch

KEY = jax.random.key(0)


def seen(gradients, losses=None, labelled=None):
    gradients = jnp.asarray(gradients, jnp.float32)
    count = len(gradients)
    labelled = jnp.ones(count, bool) if labelled is None else jnp.asarray(labelled)
    losses = jnp.ones(count) if losses is None else jnp.asarray(losses, jnp.float32)
    return Observed(gram({"w": gradients * labelled[:, None]}), losses, labelled)


def direction(method, gradients, config=None, labelled=None):
    """The combined gradient of a method."""
    config = config or BalanceConfig(method=method)
    factors, _ = BALANCERS[method].combine(config, {}, seen(gradients, labelled=labelled), KEY)
    return np.asarray(factors) @ np.asarray(gradients, np.float64)


def test_pcgrad_by_hand():
    """(1, 0) loses its part along (-1, 1), which is (1/2, -1/2), and becomes (1/2, 1/2); (-1, 1) becomes (0, 1)."""
    np.testing.assert_allclose(direction("pcgrad", [[1, 0], [-1, 1]]), [0.5, 1.5], atol=1e-6)


def test_pcgrad_leaves_gradients_that_agree():
    np.testing.assert_allclose(direction("pcgrad", [[1, 0], [1, 1], [0, 2]]), [2, 3], atol=1e-6)


def test_after_pcgrad_of_two_neither_loses():
    gradients = np.random.default_rng(0).normal(size=(20, 2, 5))
    for pair in gradients:
        assert (pair @ direction("pcgrad", pair) >= -1e-5).all()


@pytest.mark.parametrize("seed", range(5))
def test_cagrad_is_as_good_as_a_search_for_the_direction_itself(seed):
    """The largest least gain in the ball about the mean gradient, searched for directly by SciPy."""
    gradients = np.random.default_rng(seed).normal(size=(3, 4)) + 0.2
    mean, radius = gradients.mean(0), 0.5
    reach = radius * np.linalg.norm(mean)
    found = scipy.optimize.minimize(
        lambda x: -x[-1],
        [*mean, (gradients @ mean).min()],
        constraints=[
            {"type": "ineq", "fun": lambda x: gradients @ x[:-1] - x[-1]},
            {"type": "ineq", "fun": lambda x: reach**2 - ((x[:-1] - mean) ** 2).sum()},
        ],
        method="SLSQP",
    )
    config = BalanceConfig(method="cagrad", radius=radius)
    mine = direction("cagrad", gradients, config) * (1 + radius**2) / 3
    assert np.linalg.norm(mine - mean) <= reach * (1 + 1e-4)
    assert (gradients @ mine).min() >= found.x[-1] - 0.02 * abs(found.x[-1])


def test_cagrad_without_a_radius_is_the_sum():
    config = BalanceConfig(method="cagrad", radius=0.0)
    np.testing.assert_allclose(direction("cagrad", [[1, 0], [-1, 3]], config), [0, 3], atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_nash_solves_the_equation_of_the_bargain(seed):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=(4, 6)) * np.exp(rng.normal(size=(4, 1)) * 3)
    factors, _ = by_gradients.nash(BalanceConfig(method="nash"), {}, seen(gradients), KEY)
    factors = np.asarray(factors, np.float64)
    assert (factors > 0).all()
    np.testing.assert_allclose((gradients @ gradients.T @ factors) * factors, 1, rtol=1e-2)
    assert np.linalg.norm(factors @ gradients) == pytest.approx(2, rel=1e-2)


def test_nash_does_not_care_for_the_scale_of_a_loss():
    gradients = np.array([[1.0, 0.2], [-0.3, 1.0]])
    scaled = direction("nash", gradients * [[100.0], [1.0]])
    plain = direction("nash", gradients)
    np.testing.assert_allclose(scaled, plain, atol=1e-4)


@pytest.mark.parametrize("method", ["gradnorm", "pcgrad", "cagrad", "nash"])
def test_a_task_without_labels_takes_no_part(method):
    balancer, config = BALANCERS[method], BalanceConfig(method=method)
    gradients, losses = [[1.0, 0.5], [-1.0, 1.0], [3.0, -2.0]], [1.0, 2.0, 3.0]
    three = seen(gradients, losses, [True, True, False])
    factors, state = balancer.combine(config, balancer.init(config, 3), three, KEY)
    alone, _ = balancer.combine(config, balancer.init(config, 2), seen(gradients[:2], losses[:2]), KEY)
    np.testing.assert_allclose(factors, [*alone, 0], atol=1e-4)
    none = seen(gradients, losses, [False] * 3)
    assert np.isfinite(np.asarray(balancer.combine(config, balancer.init(config, 3), none, KEY)[0])).all()
    if state:  # also of Adam's moments
        assert state["first"][2] == 0
        jax.tree.map(
            lambda after, before: (
                np.testing.assert_array_equal(after[..., 2:], before[..., 2:]) if after.ndim else None
            ),
            state,
            balancer.init(config, 3),
        )


def test_gradnorm_makes_gradients_equally_long_where_the_losses_fall_alike():
    config = BalanceConfig(method="gradnorm", learning_rate=0.05)
    state = by_gradients.init_gradnorm(config, 2)
    observed = seen([[4.0, 0.0], [0.0, 1.0]], [1.0, 1.0])
    for _ in range(300):
        factors, state = by_gradients.gradnorm(config, state, observed, KEY)
    lengths = np.asarray(factors) * [4.0, 1.0]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.2)
    assert float(sum(factors)) == pytest.approx(2, abs=1e-4)


def test_gradnorm_favours_the_task_that_learns_slowly():
    config = BalanceConfig(method="gradnorm")
    state = by_gradients.init_gradnorm(config, 2)
    for step in range(100):
        losses = [1.0, 0.99**step]
        factors, state = by_gradients.gradnorm(config, state, seen([[1.0, 0.0], [0.0, 1.0]], losses), KEY)
    assert factors[0] > 1.1 > 0.9 > factors[1]


def test_gradnorm_lets_two_regressions_of_different_scale_learn_at_one_rate():
    """The example of arXiv 1711.02257: two functions with common features, the second ten times as large."""
    keys = jax.random.split(jax.random.key(0), 6)
    x, basis = jax.random.normal(keys[0], (128, 6)), jax.random.normal(keys[1], (6, 5))
    targets = [
        scale * jnp.tanh(x @ (basis + 0.3 * jax.random.normal(key, (6, 5))))
        for scale, key in ((1, keys[2]), (10, keys[3]))
    ]
    start = {
        "shared": 0.3 * jax.random.normal(keys[4], (6, 24)),
        "heads": 0.3 * jax.random.normal(keys[5], (2, 24, 5)),
    }

    def losses_of(params):
        features = jnp.tanh(x @ params["shared"])
        return jnp.stack([jnp.square(features @ params["heads"][i] - targets[i]).mean() for i in range(2)])

    def learn(config):
        def step(carried, _):
            params, state = carried
            each, losses = jax.jacrev(losses_of)(params), losses_of(params)
            factors = jnp.ones(2)
            if config:
                observed = Observed(gram(each["shared"]), losses, jnp.ones(2, bool))
                factors, state = by_gradients.gradnorm(config, state, observed, KEY)
            return (
                jax.tree.map(lambda leaf, grad: leaf - 0.01 * jnp.tensordot(factors, grad, 1), params, each),
                state,
            ), None

        begin = (start, by_gradients.init_gradnorm(config or BalanceConfig(), 2))
        (params, _), _ = jax.lax.scan(step, begin, length=1000)
        rates = losses_of(params) / losses_of(start)
        return float(jnp.abs(jnp.log(rates[0] / rates[1])))

    balanced, plain = learn(BalanceConfig(method="gradnorm", learning_rate=0.01)), learn(None)
    assert balanced < plain / 3, (balanced, plain)


def test_the_variance_that_uncertainty_learns_is_the_loss():
    config = BalanceConfig(method="uncertainty", learning_rate=0.05)
    state = by_losses.init_uncertainty(config, 3)
    for _ in range(400):
        state = by_losses.update_uncertainty(config, state, jnp.array([4.0, 0.25, 9.0]), jnp.array([True, True, False]))
    assert not state["adam"][0].mu[2] and not state["adam"][0].nu[2]  # without labels
    factors = by_losses.uncertainty(config, ("a", "b", "c"), state, jnp.float32(0))
    np.testing.assert_allclose(factors, [1 / 4, 4, 1], rtol=1e-2)


def test_dynamic_weight_average_by_hand():
    """Two windows of two steps: the losses fall from 2 to 1, and stay at 3; the third task has no label."""
    config = BalanceConfig(method="dwa", window=2, temperature=1.0)
    state = by_losses.init_dwa(config, 3)
    for number, losses in enumerate([(1.5, 3.0), (2.5, 3.0), (1.0, 3.0), (1.0, 3.0)]):
        np.testing.assert_allclose(by_losses.dwa(config, ("a", "b", "c"), state, 0.0), [1, 1, 1], err_msg=str(number))
        state = by_losses.update_dwa(config, state, jnp.array([*losses, 0.0]), jnp.array([True, True, False]))
    expected = 3 * np.exp([0.5, 1, 1]) / np.exp([0.5, 1, 1]).sum()
    np.testing.assert_allclose(by_losses.dwa(config, ("a", "b", "c"), state, 0.0), expected, rtol=1e-5)


def test_curves_are_linear_between_their_points():
    config = BalanceConfig(method="schedule", curves=("b=0.25:0,0.75:2",))
    for share, expected in ((0.0, 0.0), (0.25, 0.0), (0.5, 1.0), (1.0, 2.0)):
        np.testing.assert_allclose(by_losses.of_curves(config, ("a", "b"), {}, jnp.float32(share)), [1.0, expected])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"method": "schedule"}, "method is schedule and curves is"),
        ({"curves": ("a=0:1",)}, "method is fixed and curves is"),
        ({"method": "schedule", "curves": ("a=0.5:1,0.2:0",)}, "curves has 'a=0.5:1,0.2:0'; write TASK=SHARE:FACTOR"),
        ({"method": "schedule", "curves": ("a=0:1,2:0",)}, "shares from 0 to 1"),
        ({"method": "schedule", "curves": ("a",)}, "curves has 'a'"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"radius": 2.0}, "radius"),
    ],
)
def test_settings_that_cannot_be_are_named(keys, said):
    with pytest.raises(ConfigError, match=said):
        BalanceConfig(**keys)


def test_a_balance_needs_two_tasks():
    with pytest.raises(ConfigError, match=r"balance.method is nash, but tasks has bones alone; name two or more"):
        Config(tasks=("bones",), balance=BalanceConfig(method="nash"))
    other = Config(tasks=("bones", "joints"), balance=BalanceConfig(method="schedule", curves=("bone=0:1",)))
    with pytest.raises(ConfigError, match=r"curves has 'bone=0:1', but tasks is bones, joints; name one of these"):
        init_balance(other)


# In a training step.


@pytest.fixture(scope="module")
def batch():
    """The second part of two has no erosion."""
    batch = random_batch(4, seed=3)
    batch["has_erosions"] = np.array([True, True, False, False])
    batch["has_joints"] = np.array([True, True, True, False])
    return batch


def test_the_tasks_gradients_add_up_to_that_of_the_whole(batch):
    """Where nothing clashes, surgery gives the plain gradient: factors of 1."""
    config = changed(balance={"method": "cagrad", "radius": 0.0})
    state, key = init_state(config), jax.random.key(1)
    plain, losses, *_ = jax.jit(make_balanced_gradient(CONFIG))(state, key, batch)
    combined, of_cagrad, _, _, factors, _ = jax.jit(make_balanced_gradient(config))(state, key, batch)
    np.testing.assert_allclose(list(factors.values()), [1, 1], rtol=1e-4)
    assert {name: float(loss) for name, loss in losses.items()} == pytest.approx(
        {name: float(loss) for name, loss in of_cagrad.items()}, rel=1e-5
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), plain, combined)


@functools.cache
def step_of(method, parts=1):
    config = changed(balance={"method": method}, train={"accumulation_steps": parts})
    return jax.jit(make_train_step(config)), init_state(config)


@pytest.mark.parametrize("method", ["uncertainty", "pcgrad"])
def test_parts_of_a_batch_give_the_step_of_the_whole(batch, method):
    """Also where one part has no label of a task that the whole has."""
    results = []
    for parts in (1, 2):
        step, state = step_of(method, parts)
        for _ in range(2):
            state, metrics = step(state, batch)
            results.append((metrics, state.balance))
    for whole, of_parts in zip(results[:2], results[2:], strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5), whole, of_parts)


def test_a_task_without_any_label_keeps_its_head(batch):
    step, state = step_of("pcgrad")
    after, metrics = step(state, batch | {"has_erosions": np.zeros(4, bool)})
    assert metrics["factor/erosions"] == 0
    assert metrics["factor/joints"] == pytest.approx(1, abs=1e-4)
    jax.tree.map(np.testing.assert_array_equal, after.params["heads"]["erosions"], state.params["heads"]["erosions"])


def test_what_a_balancer_remembers_comes_back_from_a_checkpoint(tmp_path):
    """To the last bit, into the state of the training as it is before the first step; a fixed balance has nothing."""
    state = init_state(CONFIG)
    assert state.balance == {}
    for method in ("uncertainty", "dwa", "gradnorm"):
        config, balancer = changed(balance={"method": method, "window": 2}), BALANCERS[method]
        balance, losses = balancer.init(config.balance, 2), jnp.array([0.7, 1.9])
        for step in range(5):
            if method == "gradnorm":
                observed = seen([[1.0, 2.0], [-0.5, 1.0]], losses / (1 + step))
                _, balance = balancer.combine(config.balance, balance, observed, KEY)
            else:
                balance = balancer.update(config.balance, balance, losses / (1 + step), jnp.array([True, True]))
        with Checkpoints(tmp_path / method) as checkpoints:
            checkpoints.save_latest(1, state.replace(step=jnp.int32(1), balance=balance))
        restored = Checkpoints(tmp_path / method, read_only=True).restore_latest(
            abstract_state(config, sharding.make_mesh(config))
        )
        jax.tree.map(np.testing.assert_array_equal, restored.balance, balance)
        assert all(leaf.any() for leaf in jax.tree.leaves(restored.balance) if leaf.ndim)


def test_each_balancer_is_of_two_tasks_at_least_as_many_as_there_are():
    names = tuple(task.name for task in make_tasks(CONFIG))
    for method, balancer in BALANCERS.items():
        curves = ("joints=0:1",) if method == "schedule" else ()
        config = dataclasses.replace(BalanceConfig(), method=method, curves=curves)
        state = balancer.init(config, len(names))
        if hasattr(balancer, "factors"):
            assert balancer.factors(config, names, state, jnp.float32(0.5)).shape == (len(names),)
    each = {"w": jnp.arange(6.0).reshape(2, 3)}
    np.testing.assert_array_equal(add_up(each, jnp.array([2.0, 1.0]))["w"], [3, 6, 9])
    np.testing.assert_array_equal(gram(each), [[5, 14], [14, 50]])
