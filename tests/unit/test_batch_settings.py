"""Which workspace and account a command uses."""

from pathlib import Path

import pytest

from batch.errors import UsageError
from batch.settings import read_settings

PROFILES = """
[profiles.staging]
workspace = "s3://staging/jobs"
account_id = "team"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "config.toml"
    config.write_text(PROFILES)
    return {"HOME": str(tmp_path), "BATCHCTL_CONFIG": str(config)}


def test_without_anything_the_workspace_is_in_the_users_data_folder(env: dict[str, str]) -> None:
    found = read_settings({}, env)

    assert found.workspace == f"{env['HOME']}/.local/share/batchctl/workspace"
    assert found.account_id == "local"
    assert found.api_key is None


def test_a_flag_beats_the_environment_and_that_the_profile(env: dict[str, str]) -> None:
    env |= {"BATCHCTL_WORKSPACE": "/from/env", "BATCHCTL_PROFILE": "staging"}

    assert read_settings({"workspace": "/from/flag"}, env).workspace == "/from/flag"
    assert read_settings({}, env).workspace == "/from/env"
    assert read_settings({}, env).account_id == "team"


def test_a_profile_named_by_a_flag_beats_the_environment(env: dict[str, str]) -> None:
    found = read_settings({"profile": "staging"}, env | {"BATCHCTL_WORKSPACE": "/from/env"})

    assert found.workspace == "s3://staging/jobs"
    assert ("workspace", "profile staging") in found.sources


def test_an_unknown_profile_says_which_ones_there_are(env: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"'prod' is not in .*it holds: staging"):
        read_settings({"profile": "prod"}, env)


def test_a_profile_without_a_file_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"config\.toml does not exist"):
        read_settings({"profile": "prod"}, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    "text", ["not toml", '[profiles.x]\nworkspce = "a"', "[profiles.x]\nworkspace = 3", "profiles = 3"]
)
def test_a_broken_profile_file_is_a_usage_error(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)

    with pytest.raises(UsageError, match=str(config)):
        read_settings({"profile": "x"}, {"BATCHCTL_CONFIG": str(config), "HOME": str(tmp_path)})
