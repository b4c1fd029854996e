"""Names of the leaves of trees of parameters, such as ``encoder/stem/conv/kernel``."""

from typing import Any

import jax


def name_of(path: jax.tree_util.KeyPath) -> str:
    """The name of a leaf by its path: the keys, joined by slashes."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def by_name(tree: Any) -> dict[str, Any]:
    """The leaves by name, in the tree's order; the names do not depend on the classes of its nodes."""
    return {name_of(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}
