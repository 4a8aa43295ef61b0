"""One Ray cluster for the jobs of this folder: they start in seconds, and a cluster at an address is tried too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Terminal, clean_environment, cluster


@pytest.fixture(scope="session")
def person(s3_endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a person with a home and an S3 account."""
    return clean_environment(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def ray_cluster(person: dict[str, str]) -> Iterator[str]:
    """The address of a running cluster."""
    with cluster(person) as address:
        yield address


@pytest.fixture
def terminal(person: dict[str, str], ray_cluster: str, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, person, ray=ray_cluster)
