"""FLOPs of a JAX function: counted by hand from its operations, and as XLA's cost analysis tells.

The hand count is of convolutions and matrix products alone, two FLOPs a multiply-add, taps that fall on padding or
between dilated pixels left out. It does not depend on the device. XLA's own count takes in element-wise work, counts
the body of a loop once, and knows nothing of what a library does (custom calls, of cuDNN or oneDNN, count 0).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.interpreters import partial_eval


def product_flops(function: Callable[..., Any], *arguments: Any) -> float:
    """FLOPs of all convolutions and matrix products of ``function(*arguments)``; arguments may be ShapeDtypeStructs.

    What does not reach the results does not count, as compilers leave it out. What a rematerialised function does twice
    counts twice, as it is written. Of a choice the branch with the most counts; of branches for several platforms that
    with the fewest, as what another adds is a detour of that platform's.

    Raises:
      ValueError: a loop whose length is not known before it runs has products in it.
    """
    jaxpr = jax.make_jaxpr(function)(*arguments).jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return _of_jaxpr(needed)


def cost_flops(compiled: jax.stages.Compiled) -> float:
    """FLOPs of a compiled function as XLA estimates them, NaN where the backend does not tell."""
    return float((compiled.cost_analysis() or {}).get("flops", math.nan))


def _of_jaxpr(jaxpr: core.Jaxpr) -> float:
    return sum(map(_of_equation, jaxpr.eqns))


def _of_equation(equation: core.JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        return _of_convolution(*(variable.aval.shape for variable in (*equation.invars, *equation.outvars)), params)
    if name == "dot_general":
        contracted = params["dimension_numbers"][0][0]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * depth
    inner = [_of_jaxpr(jaxpr) for jaxpr in core.jaxprs_in_params(params)]  # of loops, branches, what is jitted
    if name == "cond":
        return min(inner) if params.get("branches_platforms") else max(inner)
    if name == "while" and sum(inner):
        raise ValueError("A while loop has products in it, so that their number is not known before it runs.")
    return sum(inner) * params.get("length", 1)  # of a scan


def _of_convolution(image: tuple[int, ...], kernel: tuple[int, ...], out: tuple[int, ...], params: Any) -> float:
    numbers = params["dimension_numbers"]
    taps = 1
    for axis in range(len(numbers.lhs_spec) - 2):
        positions = np.arange(out[numbers.out_spec[2 + axis]]) * params["window_strides"][axis]
        positions = positions[:, None] - params["padding"][axis][0]
        positions = positions + np.arange(kernel[numbers.rhs_spec[2 + axis]]) * params["rhs_dilation"][axis]
        dilation = params["lhs_dilation"][axis]
        last = (image[numbers.lhs_spec[2 + axis]] - 1) * dilation
        taps *= int(((positions >= 0) & (positions <= last) & (positions % dilation == 0)).sum())
    outputs = out[numbers.out_spec[0]] * out[numbers.out_spec[1]]
    return 2.0 * outputs * kernel[numbers.rhs_spec[1]] * taps
