"""Settings of every test: JAX on the CPU, compiled programs kept between runs, flags parsed for Grain's workers."""

import fcntl
import os
import pathlib
import shutil
from collections.abc import Callable

ROOT = pathlib.Path(__file__).parent.parent
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Unoptimised machine code, from the simpler of XLA's two generators: most of a test's time is compiling, which takes a
# quarter of it so; the algorithms are the same.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on a GPU, tests start processes that need some of it

import pytest  # noqa: E402
from absl import flags  # noqa: E402

flags.FLAGS.mark_as_parsed()


def pytest_collection_modifyitems(items):
    """Files with slow tests come first: no worker is then left with a long one when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> pathlib.Path:
    """A folder for all workers of a test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def made_once(shared) -> Callable[[str, Callable[[pathlib.Path], None]], pathlib.Path]:
    """Makes a folder of that name once for all workers of a test run: one makes it, the others wait."""

    def made(name: str, make: Callable[[pathlib.Path], None]) -> pathlib.Path:
        folder, part = shared / name, shared / f"{name}.part"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(part, ignore_errors=True)  # of a worker that failed
                part.mkdir()
                make(part)
                part.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def data_dir(shared) -> pathlib.Path:
    """Folder of prepared data sets, one for all workers of a test run; whoever opens one first prepares it."""
    folder = shared / "data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", params=["cpu", pytest.param("accelerator", marks=pytest.mark.accelerator)])
def device(request):
    """The device that a test is about: the CPU, and the first GPU or TPU where JAX has one."""
    import jax

    if request.param == "cpu":
        return jax.devices("cpu")[0]
    if jax.default_backend() == "cpu":
        pytest.skip(
            "JAX has no GPU or TPU here; where there is one: JAX_PLATFORMS='' XLA_FLAGS='' python -m pytest ..."
        )
    return jax.devices()[0]


@pytest.fixture
def debug_config(data_dir):
    """The typed config of experiments/debug.py on the tests' data."""
    from experiments import debug
    from ramjax import config as config_lib

    config = debug.get_config()
    config.data.data_dir = str(data_dir)
    return config_lib.from_config_dict(config)


@pytest.fixture
def compilations():
    """The durations of all compilations since the test began."""
    import jax

    durations = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield durations
    jax.monitoring.unregister_event_duration_listener(listen)
