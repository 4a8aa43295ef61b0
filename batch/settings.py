"""Who is asking and where their workspace is: flags, environment, profile file, defaults, in that order.

The only module of the command line that reads the environment. Knows nothing of jobs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from batch.errors import UsageError

DEFAULT_ACCOUNT_ID = "local"
_FIELDS = ("workspace", "account_id", "api_key")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every command knows before it starts. `sources` says where each value came from."""

    workspace: str
    account_id: str
    api_key: str | None
    profile: str | None
    sources: tuple[tuple[str, str], ...]


def read_settings(flags: Mapping[str, str], environ: Mapping[str, str] | None = None) -> Settings:
    """Settle workspace, account_id and api_key.

    A profile named by a flag beats the environment; one named by BATCHCTL_PROFILE does not.
    Raises UsageError for a profile that does not exist.
    """
    env = os.environ if environ is None else environ
    profile = flags.get("profile") or env.get("BATCHCTL_PROFILE") or None
    stored = ("profile " + profile, read_profile(profile, config_path(env))) if profile else ("", {})
    environment = ("environment", {field: env.get(f"BATCHCTL_{field.upper()}", "") for field in _FIELDS})
    defaults = ("default", {"workspace": str(data_folder(env) / "workspace"), "account_id": DEFAULT_ACCOUNT_ID})
    middle = (stored, environment) if flags.get("profile") else (environment, stored)
    layers = (("flag", flags), *middle, defaults)
    found = {field: _first(field, layers) for field in _FIELDS}
    return Settings(
        workspace=found["workspace"][0],
        account_id=found["account_id"][0],
        api_key=found["api_key"][0] or None,
        profile=profile,
        sources=tuple((field, source) for field, (_, source) in found.items()),
    )


def _first(field: str, layers: tuple[tuple[str, Mapping[str, str]], ...]) -> tuple[str, str]:
    for source, values in layers:
        if values.get(field):
            return values[field], source
    return "", "unset"


def read_profile(name: str, path: Path) -> dict[str, str]:
    """The values under [profiles.NAME] of the profile file. Raises UsageError with what stands there instead."""
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"Profile {name!r} is not known: {path} does not exist.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"The profile file {path} cannot be read: {error}.") from None
    profiles = document.get("profiles", {})
    values = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(values, dict):
        known = ", ".join(profiles) if isinstance(profiles, dict) and profiles else "none"
        raise UsageError(f"Profile {name!r} is not in {path}; it holds: {known}.")
    unknown = sorted(set(values) - set(_FIELDS)) + [key for key, value in values.items() if not isinstance(value, str)]
    if unknown:
        raise UsageError(
            f"Profile {name!r} in {path} sets {unknown[0]!r}; text values of {', '.join(_FIELDS)} are known."
        )
    return dict(values)


def config_path(environ: Mapping[str, str] | None = None) -> Path:
    """The profile file: BATCHCTL_CONFIG, or config.toml in the user's configuration folder."""
    env = os.environ if environ is None else environ
    if env.get("BATCHCTL_CONFIG"):
        return Path(env["BATCHCTL_CONFIG"]).expanduser()
    return _folder(env, "XDG_CONFIG_HOME", ".config") / "config.toml"


def variable(name: str) -> str | None:
    """An environment variable; None where it is not set."""
    return os.environ.get(name)


def data_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where things of this user live that must stay: the default workspace."""
    return _folder(os.environ if environ is None else environ, "XDG_DATA_HOME", ".local/share")


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where things of this user live that may go: worker logs of jobs whose output is not on this machine."""
    return _folder(os.environ if environ is None else environ, "XDG_STATE_HOME", ".local/state")


def _folder(env: Mapping[str, str], variable: str, below_home: str) -> Path:
    base = Path(env[variable]) if env.get(variable) else Path(env.get("HOME") or Path.home()) / below_home
    return base / "batchctl"
