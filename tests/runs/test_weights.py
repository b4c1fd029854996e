"""A network in one file: what comes back, and what is said of a file that is none."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ramjax import errors
from ramjax.config import to_dict
from ramjax.inference import network as networks
from ramjax.runs import weights
from tests.inference import fakes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of random parameters."""
    return fakes.save_run(tmp_path_factory.mktemp("weights") / "run", fakes.config())


@pytest.fixture(scope="module")
def file(run):
    """The same network as a file."""
    path = run.parent / "network.safetensors"
    networks.export(networks.load(run), path, {"device": "abacus", "best": float("nan")})
    return path


def test_a_network_comes_back_in_half_precision(run, file):
    whole, half = networks.load(run), networks.load(file)
    assert (half.config, half.step, half.name) == (whole.config, whole.step, "network")
    images = np.random.default_rng(0).random((2, 128, 96, 1), np.float32)
    for name, expected in whole.predict(images).items():
        found = half.predict(images)[name]
        scale = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(found, expected, atol=0.01 * scale, err_msg=name)
    stored = load_file(file)
    assert {tensor.dtype for tensor in stored.values()} == {np.dtype(np.float16)}
    assert file.stat().st_size < 2.2 * sum(tensor.size for tensor in stored.values()) + 50_000
    assert weights.read(file).about == {"device": "abacus", "best": None}


def test_names_of_files():
    assert weights.path_of("default") == weights.SHIPPED
    assert weights.path_of("runs/multitask") is None and weights.path_of("./default") is None
    assert weights.path_of("a/b.safetensors").name == "b.safetensors"


def test_what_half_precision_cannot_hold_is_not_written(run, tmp_path):
    whole = networks.load(run)
    tensors = {"params/a": np.float32([1.0, 1e6])}
    with pytest.raises(ValueError, match=r"params/a has values that half precision cannot hold"):
        weights.write(tmp_path / "a.safetensors", weights.Weights(whole.config, 1, tensors, {}))
    with pytest.raises(ValueError, match=r"let its name end in \.safetensors"):
        networks.export(whole, tmp_path / "a.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_none(file, tmp_path):
    with pytest.raises(errors.RunError, match=r"There is no file .*gone\.safetensors; name a run"):
        networks.load(tmp_path / "gone.safetensors")
    other = tmp_path / "other.safetensors"
    save_file({"a": np.zeros(3)}, other)
    with pytest.raises(errors.RunError, match="holds tensors, but no network of ramjax"):
        networks.load(other)
    rewrite(file, other, ramjax="2")
    with pytest.raises(errors.RunError, match="has layout 2, not 1: a newer ramjax wrote it"):
        networks.load(other)


def rewrite(file, to, tensors=lambda tensors: tensors, **metadata):
    """A copy with other contents whose checksum is right."""
    from safetensors import safe_open

    with safe_open(file, "np") as opened:
        about = {name: value for name, value in opened.metadata().items() if name != "crc32"} | metadata
    changed = tensors(load_file(file))
    save_file(changed, to, about | {"crc32": weights._checksum(changed, about)})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda held, name: held.pop(name), r".* is missing there and \(.*\) in the network"),
        (lambda held, name: held.update({name: np.zeros((2, 7), np.float16)}), r".* is \(2, 7\) there and \("),
        (
            lambda held, name: held.update({"params/own": np.zeros(2, np.float16)}),
            r"params/own is \(2,\) there and not a part",
        ),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(file, tmp_path, change, said):
    name = sorted(load_file(file))[3]

    def tensors(held):
        change(held, name)
        return held

    rewrite(file, tmp_path / "a.safetensors", tensors)
    named = "params/own" if "own" in said else name
    with pytest.raises(errors.RunError, match=f"does not fit its config: {said}") as caught:
        networks.load(tmp_path / "a.safetensors")
    assert named in str(caught.value)


def test_a_config_of_a_newer_version_is_told(file, tmp_path):
    config = to_dict(fakes.config()) | {"novelty": 1}
    rewrite(file, tmp_path / "a.safetensors", config=json.dumps(config))
    with pytest.raises(errors.RunError, match="novelty, which this version of ramjax does not know"):
        networks.load(tmp_path / "a.safetensors")


def test_damage_is_one_sentence_and_never_another_network(file, tmp_path):
    """Flipped bits and cut ends anywhere: in the header, the config and the tensors."""
    content, rng = file.read_bytes(), np.random.default_rng(0)
    damaged = tmp_path / "damaged.safetensors"
    header = int.from_bytes(content[:8], "little") + 8
    places = [*rng.integers(0, 8, 5), *rng.integers(8, header, 60), *rng.integers(header, len(content), 60)]
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(flipped)
        with pytest.raises(errors.RunError):
            weights.read(damaged)
    for end in (0, 7, header - 3, header, len(content) - 1):
        damaged.write_bytes(content[:end])
        with pytest.raises(errors.RunError):
            weights.read(damaged)
