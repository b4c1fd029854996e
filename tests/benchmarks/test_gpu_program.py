"""What the program for a GPU takes at least, by hand, and what is said where it cannot be compiled."""

import pytest

from benchmarks import gpu_program, hlo


def kernel(kind, gigabytes, gflop):
    return hlo.Kernel("%k", int(gigabytes * 1e9), int(gflop * 1e9), kind, (), "")


def test_each_kernel_takes_the_time_of_its_bytes_or_of_its_flops():
    found = [kernel("losses", 4.8, 0), kernel("matrix product", 4.8, 98.9), kernel("matrix product", 0.48, 989)]
    (first, products), (second, losses) = gpu_program.by_kind(found)
    assert (first, second) == ("matrix product", "losses") and losses == found[:1]
    numbers = gpu_program.bounds(products)
    assert numbers["kernels"] == 2
    assert numbers["gigabytes"] == pytest.approx(5.28) and numbers["gflop"] == pytest.approx(1087.9)
    assert numbers["milliseconds_for_bytes"] == pytest.approx(1.1)
    assert numbers["milliseconds_for_flops"] == pytest.approx(1.1)
    assert numbers["milliseconds_at_least"] == pytest.approx(1 + 1)


def test_without_the_plugin_it_says_what_to_install(capsys):
    if gpu_program.importlib.util.find_spec("jax_plugins") is None:
        assert gpu_program.main(["gpu_program", "--config=experiments/debug.py"]) == 1
        assert 'pip install "jax[cuda12]"' in capsys.readouterr().err
