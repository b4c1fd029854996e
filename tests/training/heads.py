"""Where the parts of a training state are that belong to one head."""

import optax


def adam_of(opt_state, task: str) -> optax.ScaleByAdamState:
    """The moments of a head's parameters and their count."""
    adam = opt_state[1].inner_states[task].inner_state.inner_state[0]
    assert isinstance(adam, optax.ScaleByAdamState)
    return adam
