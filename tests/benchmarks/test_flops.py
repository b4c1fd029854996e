"""FLOPs counted by hand: worked cases, gradients, loops, and XLA's own count where the two mean the same."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import flops

NUMBERS = ("NHWC", "HWIO", "NHWC")


def convolve(image, kernel, stride=1, padding="SAME"):
    return jax.lax.conv_general_dilated(image, kernel, (stride, stride), padding, dimension_numbers=NUMBERS)


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def test_product():
    assert flops.product_flops(jnp.matmul, shape(7, 3), shape(3, 5)) == 2 * 7 * 3 * 5
    assert flops.product_flops(lambda x, y: jnp.einsum("bij,bjk->bik", x, y), shape(4, 7, 3), shape(4, 3, 5)) == 840


def test_convolution_counts_no_taps_on_padding():
    # A row of 5 pixels, 3 taps: 2 + 3 + 3 + 3 + 2 of them are on the row; 13 both ways.
    assert flops.product_flops(convolve, shape(2, 5, 5, 3), shape(3, 3, 3, 4)) == 2 * 2 * 13 * 13 * 3 * 4
    valid = flops.product_flops(lambda *args: convolve(*args, padding="VALID"), shape(2, 5, 5, 3), shape(3, 3, 3, 4))
    assert valid == 2 * 2 * 9 * 9 * 3 * 4


@pytest.mark.parametrize("stride", [1, 2])
def test_gradient_of_a_convolution_costs_two_convolutions(stride):
    arguments = shape(2, 9, 8, 3), shape(3, 3, 3, 4)
    forward = flops.product_flops(lambda *args: convolve(*args, stride), *arguments)
    both = jax.grad(lambda *args: jnp.square(convolve(*args, stride)).sum(), argnums=(0, 1))
    assert flops.product_flops(both, *arguments) == 3 * forward


def test_depthwise_convolution():
    def depthwise(image, kernel):
        return jax.lax.conv_general_dilated(
            image, kernel, (1, 1), "VALID", dimension_numbers=NUMBERS, feature_group_count=6
        )

    assert flops.product_flops(depthwise, shape(1, 4, 4, 6), shape(3, 3, 1, 6)) == 2 * 2 * 2 * 9 * 6


def test_loops_branches_and_jitted_functions():
    def scanned(x, y):
        return jax.lax.scan(lambda x, _: (jax.jit(jnp.matmul)(x, y), None), x, length=5)[0]

    def either(x, y):
        return jax.lax.cond(x[0, 0] > 0, lambda: x @ y, lambda: (x @ y) @ y)

    def by_platform(x, y):
        return jax.lax.platform_dependent(x, y, cpu=lambda x, y: x @ y @ jnp.eye(4), default=jnp.matmul)

    def unknown(x, y):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ y, x)

    square = shape(4, 4)
    assert flops.product_flops(scanned, square, square) == 5 * 2 * 4**3
    assert flops.product_flops(either, square, square) == 2 * 2 * 4**3
    assert flops.product_flops(by_platform, square, square) == 2 * 4**3
    with pytest.raises(ValueError, match="while loop"):
        flops.product_flops(unknown, square, square)


def test_what_is_not_needed_does_not_count():
    def wasteful(x, y):
        jax.jit(jnp.matmul)(x, y)
        return jax.lax.scan(lambda x, _: (x @ y, x @ y @ y), x, length=2)[0]

    assert flops.product_flops(wasteful, shape(4, 4), shape(4, 4)) == 2 * 2 * 4**3


def test_agrees_with_xla_where_there_is_nothing_but_products():
    def both(image, kernel):
        return convolve(convolve(image, kernel, 2), jnp.ones((3, 3, 4, 4)))

    arguments = shape(2, 33, 20, 3), shape(3, 3, 3, 4)
    ours, xla = flops.product_flops(both, *arguments), flops.cost_flops(jax.jit(both).lower(*arguments).compile())
    assert ours == pytest.approx(xla, rel=0.01)
