"""ramjax: hand radiographs to bones, erosions, joints and Sharp/van der Heijde scores, by one jointly trained network.

Research use only, not a medical device. From Python, everything of `ramjax.api` is here::

    import ramjax

    run = ramjax.load("runs/multitask")
    reading = run.predict("hand.png")
    reading.save("overlay.png")

It is imported on first use, because JAX takes a second to load.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ramjax.api import *  # noqa: F403

_PUBLIC = (
    "Config", "HandReading", "Record", "Run", "build_network", "draw", "eval_batches", "load", "load_experiment",
    "loss_and_gradient", "open_dataset", "train", "train_batches",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        from ramjax import api

        return getattr(api, name)
    raise AttributeError(f"module 'ramjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
