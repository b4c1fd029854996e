"""Settings of tests that compare the numbers of several devices."""

import pytest


@pytest.fixture(scope="module")
def usual_code():
    """Processes get their code from the generator that XLA uses for users.

    With the simpler one of the other tests, the rounding of a sum depends on how many devices share it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
        yield
