"""Linear functions with a transpose of their own: for hand-written gradients that keep the other derivatives possible.

Reverse mode transposes the tangent of a function, which is linear. A tangent that is written by `linear_call` chooses
its transpose, and so the gradient. `jax.custom_vjp` also chooses the gradient, but forbids forward mode, and with it
Hessian-vector products. `jax.custom_derivatives.linear_call` (to jax 0.12) can neither be batched nor differentiated in
its residuals.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir

PyTree = Any


def linear_call(
    function: Callable[[PyTree, PyTree], PyTree],
    transpose: Callable[[PyTree, PyTree], PyTree],
    residuals: PyTree,
    arguments: PyTree,
) -> PyTree:
    """Returns ``function(residuals, arguments)``.

    Args:
      function: linear in the arguments, not necessarily in the residuals; both may be differentiated.
      transpose: ``transpose(residuals, cotangents)`` returns the cotangents of the arguments, given those of what
        `function` returns; it is transposed by `function`.
      residuals, arguments: trees of arrays.
    """
    kept, given = jax.tree.map(jax.typeof, (residuals, arguments))
    jaxpr, out = jax.make_jaxpr(function, return_shape=True)(kept, given)
    results = _linear_call.bind(
        *jax.tree.leaves((residuals, arguments)),
        jaxpr=jaxpr,
        make_transpose=lambda: jax.make_jaxpr(transpose)(kept, out),
        num_residuals=len(jax.tree.leaves(residuals)),
    )
    return jax.tree.unflatten(jax.tree.structure(out), results)


_linear_call = Primitive("linear_call_with_transpose")
_linear_call.multiple_results = True


def _run(*args: jax.Array, jaxpr: ClosedJaxpr, **_: Any) -> list[jax.Array]:
    return jaxpr_as_fun(jaxpr)(*args)


def _differentiate(
    primals: Sequence[Any], tangents: Sequence[Any], *, num_residuals: int, jaxpr: ClosedJaxpr, **settings: Any
) -> tuple[list[Any], list[Any]]:
    settings |= {"num_residuals": num_residuals, "jaxpr": jaxpr}
    residuals, arguments = primals[:num_residuals], primals[num_residuals:]
    of_residuals, of_arguments = tangents[:num_residuals], tangents[num_residuals:]
    terms = []
    if not all(type(tangent) is ad.Zero for tangent in of_arguments):
        terms.append(_linear_call.bind(*residuals, *map(ad.instantiate_zeros, of_arguments), **settings))
    if not all(type(tangent) is ad.Zero for tangent in of_residuals):
        given = tuple(map(ad.instantiate_zeros, of_residuals))
        terms.append(jax.jvp(lambda *kept: jaxpr_as_fun(jaxpr)(*kept, *arguments), residuals, given)[1])
    return _linear_call.bind(*primals, **settings), [
        functools.reduce(jnp.add, of_one) for of_one in zip(*terms, strict=True)
    ]


def _transpose(
    cotangents: Sequence[Any], *args: Any, jaxpr: ClosedJaxpr, make_transpose: Callable, num_residuals: int
) -> list[Any]:
    of_arguments = _linear_call.bind(
        *args[:num_residuals],
        *map(ad.instantiate_zeros, cotangents),
        jaxpr=make_transpose(),
        make_transpose=lambda: jaxpr,
        num_residuals=num_residuals,
    )
    return [None] * num_residuals + of_arguments


def _batch(
    args: Sequence[jax.Array], axes: Sequence[int | None], *, jaxpr: ClosedJaxpr, **_: Any
) -> tuple[list[jax.Array], list[int]]:
    """By the rules of what `function` does, whose transposes are the usual ones from here on."""
    results = jax.vmap(jaxpr_as_fun(jaxpr), axes)(*args)
    return results, [0] * len(results)


_linear_call.def_impl(_run)
_linear_call.def_abstract_eval(lambda *_, jaxpr, **__: jaxpr.out_avals)
ad.primitive_jvps[_linear_call] = _differentiate
ad.primitive_transposes[_linear_call] = _transpose
batching.primitive_batchers[_linear_call] = _batch
mlir.register_lowering(_linear_call, mlir.lower_fun(_run, multiple_results=True))
