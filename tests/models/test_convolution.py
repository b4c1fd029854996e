"""Convolution against XLA's own."""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from benchmarks import common
from ramjax.devices import compilation
from ramjax.models import convolution, layers


def _arrays(shape, out_features, kernel, dtype):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=shape), dtype)
    return x, jnp.asarray(0.1 * rng.normal(size=(kernel, kernel, shape[-1], out_features)), dtype)


def _plain(x, kernel, strides, padding):
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _apart(one, other):
    one, other = np.float64(one), np.float64(other)
    return np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-9)


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(st.integers(3, 11), st.integers(3, 11)),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.sampled_from([1, 3, 5]),
    strides=st.sampled_from([(1, 1), (2, 2), (1, 2), (3, 2)]),
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_gradients_by_hand_are_those_of_differentiation(sides, channels, kernel, strides, padding):
    kernel = min(kernel, *sides)
    x, weights = _arrays((2, *sides, channels[0]), channels[1], kernel, jnp.float32)
    shape = jax.eval_shape(lambda: _plain(x, weights, strides, padding)).shape
    grad = jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)

    def differentiated(x, weights, grad):
        return jax.vjp(lambda x, weights: _plain(x, weights, strides, padding), x, weights)[1](grad)

    def by_hand(x, weights, grad):
        of_x = convolution.input_gradient(weights, grad, sides, strides, padding)
        return of_x, convolution.kernel_gradient(x, grad, (kernel, kernel), strides, padding)

    for one, other in zip(*(jax.jit(way)(x, weights, grad) for way in (by_hand, differentiated)), strict=True):
        assert one.shape == other.shape and _apart(one, other) < 1e-5


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("shape", [(2, 9, 7, 64), (2, 9, 7, 3)])
def test_values_and_gradients_are_those_of_the_plain_convolution(shape, strides, dtype, tolerance):
    x, kernel = _arrays(shape, 5, 3, dtype)

    def run(function):
        def total(x, kernel):
            out = function(x, kernel, strides, "SAME")
            return jnp.sum(jnp.sin(out.astype(jnp.float32))), out

        return jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))(x, kernel)

    (_, out), grads = run(convolution.convolve)
    (_, expected), expected_grads = run(_plain)
    np.testing.assert_array_equal(np.float32(out), np.float32(expected))
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert grad.dtype == wanted.dtype == dtype
        assert _apart(grad, wanted) < tolerance


def test_a_kernels_gradient_does_not_compute_the_activations_anew():
    """Within the transposition that it begins with, which would take ten times as long."""

    def total(x, kernel):
        return jnp.square(convolution.convolve(jax.nn.relu(2 * x + 1), kernel, (1, 1), "SAME")).sum()

    x, kernel = _arrays((4, 32, 32, 16), 16, 3, jnp.float32)
    compiled = compilation.jit(jax.grad(total, 1)).lower(x, kernel).compile()
    computations = compiled.as_text().split("\n}\n")
    assert any(" transpose(" in one for one in computations) and any(" maximum(" in one for one in computations)
    assert not any(" transpose(" in one and " maximum(" in one for one in computations)


def _orders(platform):
    """Orders of the dimensions of all convolutions in the gradients, as lowered for a platform."""
    x, kernel = _arrays((1, 8, 8, 4), 8, 3, jnp.float32)
    total = jax.jit(jax.grad(lambda x, kernel: convolution.convolve(x, kernel, (2, 2), "SAME").sum(), (0, 1)))
    text = total.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    return {line.split("dim_numbers = ")[1].split(", window")[0] for line in text.splitlines() if "dim_numbers" in line}


def test_only_a_cpu_has_gradients_of_canonical_order():
    assert _orders("cpu") == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    for platform in ("cuda", "tpu"):
        assert len(_orders(platform)) > 1


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="what a CPU's compiler does")
def test_a_gradient_within_a_loop_takes_no_longer_than_outside():
    x, kernel = _arrays((4, 64, 64, 64), 64, 3, jnp.float32)
    gradient = jax.grad(lambda kernel, x: jnp.square(convolution.convolve(x, kernel, (1, 1), "SAME")).sum())

    def loop(kernel, xs):
        return lax.scan(lambda total, x: (total + gradient(kernel, x), None), jnp.zeros_like(kernel), xs)[0]

    def unrolled(kernel, xs):
        return sum(gradient(kernel, x) for x in xs)

    def fastest(function, repeats=5):
        seconds, compiled = [], compilation.jit(function)
        compiled(kernel, xs).block_until_ready()
        for _ in range(repeats):
            began = time.perf_counter()
            compiled(kernel, xs).block_until_ready()
            seconds.append(time.perf_counter() - began)
        return min(seconds)  # of one alone the half may be another process's

    xs = jnp.stack([x, x])
    assert fastest(loop) < 5 * fastest(unrolled)  # in another order of dimensions: 50 times


def test_an_option_the_compiler_does_not_know_is_left_out(monkeypatch):
    def refuse(*_, **__):
        raise jax.errors.JaxRuntimeError("No such compile option")

    monkeypatch.setattr(compilation.jax, "jit", refuse)
    assert compilation._compiler_options.__wrapped__() == {}


def test_flax_calls_it_and_keeps_its_parameters():
    ours = layers.conv(64, 8, 3, stride=2, dtype=jnp.float32, rngs=nnx.Rngs(0))
    theirs = nnx.Conv(64, 8, (3, 3), strides=2, use_bias=False, rngs=nnx.Rngs(0))
    theirs.kernel[...] = ours.kernel[...]
    x = _arrays((2, 9, 8, 64), 8, 3, jnp.float32)[0]
    np.testing.assert_array_equal(ours(x), theirs(x))
    assert jax.tree.structure(nnx.to_pure_dict(nnx.state(ours))) == jax.tree.structure(
        nnx.to_pure_dict(nnx.state(theirs))
    )


@pytest.mark.parametrize("setting", [{"lhs_dilation": (2, 2)}, {"rhs_dilation": (1, 2)}])
def test_what_it_does_not_know_is_refused(setting):
    x, kernel = _arrays((1, 8, 8, 4), 4, 3, jnp.float32)
    with pytest.raises(ValueError, match=next(iter(setting))):
        convolution.conv_general_dilated(x, kernel, (1, 1), "SAME", **setting)


def test_gradients_pass_through_rematerialisation():
    x, kernel = _arrays((1, 8, 8, 64), 8, 3, jnp.float32)
    function = functools.partial(convolution.convolve, strides=(1, 1), padding="SAME")

    def total(kernel, wrap):
        return jnp.square(wrap(function)(x, kernel)).sum()

    plain = jax.grad(total)(kernel, lambda function: function)
    np.testing.assert_allclose(jax.grad(total)(kernel, jax.checkpoint), plain, rtol=1e-6)


def _grouped(x, kernel, strides, padding, groups):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=numbers, feature_group_count=groups)


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    groups=st.sampled_from([(6, 6, 6), (6, 12, 6), (8, 4, 2), (96, 32, 32), (160, 4, 2)]),
    kernel=st.sampled_from([1, 2, 3]),
    strides=st.sampled_from([(1, 1), (2, 2), (3, 2)]),
    padding=st.sampled_from(["SAME", "VALID"]),
)
def test_groups_and_their_gradients_are_those_of_the_plain_convolution(sides, groups, kernel, strides, padding):
    inputs, outputs, groups = groups
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, *sides, inputs)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(kernel, kernel, inputs // groups, outputs)), jnp.float32)
    shape = jax.eval_shape(lambda: _grouped(x, weights, strides, padding, groups)).shape
    grad = jnp.asarray(rng.normal(size=shape), jnp.float32)

    def run(function):  # compiled as a whole: each operation by itself takes ten times as long
        def both(x, weights, grad):
            out, pull = jax.vjp(lambda *args: function(*args, strides, padding, groups), x, weights)
            return out, *pull(grad)

        return jax.jit(both)(x, weights, grad)

    for one, other in zip(run(convolution.convolve_groups), run(_grouped), strict=True):
        assert one.shape == other.shape and _apart(one, other) < 1e-5


@pytest.mark.parametrize("groups", [8, 2])
def test_groups_in_bfloat16_are_summed_in_float32(groups):
    x, kernel = (
        jnp.asarray(np.random.default_rng(n).normal(size=shape), jnp.bfloat16)
        for n, shape in enumerate([(2, 9, 7, 8), (3, 3, 8 // groups, 8)])
    )
    out = convolution.convolve_groups(x, kernel, (1, 1), "SAME", groups)
    assert out.dtype == jnp.bfloat16
    exact = _grouped(x.astype(jnp.float32), kernel.astype(jnp.float32), (1, 1), "SAME", groups)
    assert _apart(out, exact) < 2**-8


@pytest.mark.parametrize(("platform", "plain"), [("cpu", 0), ("cuda", 1), ("tpu", 1)])
def test_only_a_cpu_has_forms_of_its_own_for_groups(platform, plain):
    x, kernel = _arrays((1, 8, 8, 4), 4, 3, jnp.float32)
    function = jax.jit(lambda x, kernel: convolution.convolve_groups(x, kernel[:, :, :1], (1, 1), "SAME", 4))
    text = function.trace(x, kernel).lower(lowering_platforms=(platform,)).as_text()
    assert text.count("feature_group_count = 4") == plain


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="what a CPU's compiler does")
@pytest.mark.parametrize("groups", [8, 32])
def test_a_gradient_of_groups_takes_no_longer_than_plain_jax_makes_it(groups):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 32, 32, 32)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(3, 3, 32 // groups, 32)), jnp.float32)

    def gradient(function):
        return jax.grad(lambda *args: jnp.square(function(*args, (1, 1), "SAME", groups)).sum(), (0, 1))

    optimised = {"xla_backend_optimization_level": 3}  # which the tests else are not
    ways = {
        "ours": jax.jit(
            gradient(convolution.convolve_groups), compiler_options=compilation._compiler_options() | optimised
        ),
        "plain": jax.jit(gradient(_grouped), compiler_options=optimised),
    }
    seconds = common.take_turns(
        {name: lambda way=way: jax.block_until_ready(way(x, kernel)) for name, way in ways.items()}, repeats=5
    )
    assert seconds["ours"] < seconds["plain"]  # a tenth


def _total(function, strides, groups=1):
    arguments = (strides, "SAME", groups) if groups > 1 else (strides, "SAME")
    return lambda x, kernel: jnp.sin(function(x, kernel, *arguments)).sum()


@pytest.mark.parametrize("strides", [(1, 1), (2, 2)])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_every_order_of_forward_and_reverse_mode_is_that_of_the_plain_convolution(groups, strides):
    rng = np.random.default_rng(0)
    x, of_x = (jnp.asarray(rng.normal(size=(2, 7, 6, 4)), jnp.float32) for _ in range(2))
    kernel, of_kernel = (jnp.asarray(rng.normal(size=(3, 3, 4 // groups, 4)), jnp.float32) for _ in range(2))
    point, direction = (x, kernel), (of_x, of_kernel)

    def derivatives(total):
        gradient = jax.grad(total, (0, 1))

        def along(*point):
            return jax.jvp(total, point, direction)[1]

        def by_products(*point):
            return sum(map(jnp.vdot, gradient(*point), direction))

        return (
            jax.jvp(total, point, direction),
            jax.jvp(lambda x: total(x, kernel), (x,), (of_x,)),  # the kernel's tangent is no array of zeros
            jax.jvp(gradient, point, direction),
            jax.grad(along, (0, 1))(*point),
            jax.grad(by_products, (0, 1))(*point),
            jax.vmap(gradient, (0, None))(x[:, None], kernel),
            jax.grad(lambda x, kernel: jax.vmap(total)(x[:, None], jnp.stack([kernel] * 2)).sum(), (0, 1))(*point),
        )

    ours, plain = (convolution.convolve, _plain) if groups == 1 else (convolution.convolve_groups, _grouped)
    results = [jax.jit(functools.partial(derivatives, _total(f, strides, groups)))() for f in (ours, plain)]
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        assert _apart(one, other) < 1e-4


def test_a_hessian_vector_product_on_a_cpu_is_of_canonical_order():
    x, kernel = _arrays((1, 8, 8, 4), 8, 3, jnp.float32)
    gradient = jax.grad(_total(convolution.convolve, (2, 2)), (0, 1))
    product = jax.jit(lambda *point: jax.jvp(gradient, point, point)[1])
    text = product.trace(x, kernel).lower(lowering_platforms=("cpu",)).as_text()
    orders = {line.split("dim_numbers = ")[1].split(", window")[0] for line in text.splitlines() if "dim_num" in line}
    assert orders == {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}


def test_an_image_has_no_gradient_that_nobody_wants():
    """Whose convolution would cost as much as the kernel's."""
    x, kernel = _arrays((1, 8, 8, 4), 8, 3, jnp.float32)
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda kernel: _total(convolution.convolve, (1, 1))(x, kernel)))(kernel))
    assert jaxpr.count("linear_call_with_transpose[") == 1
