"""A cluster of stand-ins for each test."""

import pytest

from tests.launch import fakes


@pytest.fixture
def cluster(tmp_path) -> fakes.Cluster:
    return fakes.make_cluster(tmp_path)
