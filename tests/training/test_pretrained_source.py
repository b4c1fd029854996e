"""A training that begins with another library's parameters."""

import dataclasses
import json
import pathlib
import sys

import huggingface_hub
import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from ramjax.config import ConfigError, InitConfig
from ramjax.devices import sharding
from ramjax.errors import RunError
from ramjax.models import pretrained
from ramjax.steps.state import abstract_state, place_first_state
from ramjax.training.beginning import TABLE, start_from_source
from tests.inference import fakes
from tests.models.golden import random_tensors

GOLDEN = pathlib.Path(__file__).parents[1] / "models" / "golden" / "encoders" / "resnet18.json"


@pytest.fixture(scope="module")
def tensors():
    held = json.loads(GOLDEN.read_text())
    shapes = held["tensors"] | held["unused"]
    return {name: random_tensors.tensor(name, tuple(shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def file(tensors, tmp_path_factory):
    path = tmp_path_factory.mktemp("timm") / "model.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def config():
    values = fakes.config()
    model = dataclasses.replace(values.model, encoder="resnet18", decoder_width=8)
    return dataclasses.replace(values, tasks=("joints",), model=model)


def begin(config, source, workdir):
    config = dataclasses.replace(config, init=InitConfig(source=str(source)))
    abstract = abstract_state(config, sharding.make_mesh(config))
    return start_from_source(config, place_first_state(config, abstract), abstract, workdir)


def test_the_encoder_has_the_parameters_and_statistics_of_the_file(config, file, tensors, tmp_path):
    state = begin(config, file, tmp_path)
    encoder = state.params["encoder"]["network"]
    kernel = tensors["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(encoder["layer2"][0]["conv1"]["kernel"], kernel)
    np.testing.assert_allclose(
        encoder["conv1"]["kernel"][:, :, 0], tensors["conv1.weight"].sum(1).transpose(1, 2, 0), rtol=1e-5, atol=1e-6
    )
    statistics = state.ema_variables["encoder"]["network"]
    np.testing.assert_array_equal(statistics["layer4"][1]["bn2"]["var"], tensors["layer4.1.bn2.running_var"])
    origins = [line.split() for line in (tmp_path / TABLE).read_text().splitlines()]
    taken = {line[0] for line in origins if line[1] != "random"}
    expected = [name for name in jax.tree.leaves([line[0] for line in origins]) if name.startswith("encoder/")]
    assert taken == set(expected)


def test_a_repository_of_the_hub_is_downloaded(monkeypatch, file, tensors):
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        return str(file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for source, name in (("hub:timm/resnet18", "model.safetensors"), ("hub:timm/resnet18/other.bin", "other.bin")):
        assert pretrained.read(source).keys() == tensors.keys()
        assert asked.pop() == ("timm/resnet18", name)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.pth", "There is no file nowhere.pth"),
        ("hub:resnet18", "hub:resnet18 names no repository; write hub:OWNER/NAME"),
        ("nowhere.safetensors", "There is no file nowhere.safetensors"),
    ],
)
def test_what_is_not_there_is_named(config, source, said, tmp_path):
    with pytest.raises(RunError, match=said):
        begin(config, source, tmp_path)


def test_no_network_is_a_sentence(monkeypatch):
    def download(repository, name):
        raise OSError("offline\nand more")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(RunError, match=r"hub:a/b cannot be downloaded \(offline\); .* download model.safetensors"):
        pretrained.read("hub:a/b")


def test_damaged_and_empty_files_are_named(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"damaged.safetensors cannot be read as safetensors"):
        pretrained.read(str(tmp_path / "damaged.safetensors"))
    save_file({}, tmp_path / "empty.safetensors")
    with pytest.raises(RunError, match=r"empty.safetensors holds no tensors"):
        pretrained.read(str(tmp_path / "empty.safetensors"))


def test_a_pickle_needs_pytorch(monkeypatch, tmp_path):
    (tmp_path / "network.pth").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(RunError, match=r"network.pth is read by PyTorch, which is not installed: pip install torch"):
        pretrained.read(str(tmp_path / "network.pth"))


def test_a_network_of_another_kind_is_refused(config, file, tmp_path):
    other = dataclasses.replace(config, model=fakes.config().model)
    with pytest.raises(ConfigError, match=r"init.source: .*safetensors .* model.encoder is residual; set .*resnet18"):
        begin(other, file, tmp_path)
    larger = dataclasses.replace(config, model=dataclasses.replace(config.model, encoder="resnet50"))
    with pytest.raises(RunError, match=r"model.safetensors: layer1.0.conv1.weight is \(64, 64, 3, 3\)"):
        begin(larger, file, tmp_path)
