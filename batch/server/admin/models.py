"""The models that jobs may ask for by name. An admin registers them: no client's word ever becomes a path to load.

A change is a new version beside the old one; the highest number holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from batch.errors import UsageError
from batch.records.shelf import Shelf
from batch.spec.engine_arguments import check_engine_args
from batch.spec.engine_config import EngineConfig, EngineValue

_MODELS = "server/models/"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A registered model. `source`: a hub id, a folder or a URI; `base`: of a LoRA adapter, the model it belongs to."""

    name: str
    source: str
    created_at: str
    engine: str = "vllm"
    engine_args: dict[str, EngineValue] = field(default_factory=dict)
    base: str = ""
    replicas: str = ""
    display_name: str = ""
    is_deleted: bool = False


class Models:
    """The models of a server. UsageError says what is wrong with a model, or that there is none of a name."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def create(self, model: ServedModel) -> ServedModel:
        """Register a model; the one that stands, which has to be the same."""
        checked = self._checked(model)
        if (standing := self.get(model.name)) is not None:
            if replace(standing, created_at="") != replace(checked, created_at=""):
                raise UsageError(f"Model {model.name!r} is registered already, as {standing.source}; update it.")
            return standing
        self._write(checked)
        return checked

    def update(self, model: ServedModel) -> ServedModel:
        """Register it anew. UsageError when there is none of its name."""
        self.existing(model.name)
        checked = self._checked(model)
        self._write(checked)
        return checked

    def delete(self, name: str) -> None:
        """Let no job ask for it any more. UsageError: there is none, or an adapter belongs to it."""
        model = self.existing(name)
        adapters = [other.name for other in self.list() if other.base == name]
        if adapters:
            raise UsageError(f"Model {name!r} is the base of {', '.join(adapters)}; delete them first.")
        self._write(replace(model, is_deleted=True))

    def get(self, name: str) -> ServedModel | None:
        """The model of a name; None when there is none."""
        keys = list(self._shelf.keys(f"{_MODELS}{name}/")) if _NAME.fullmatch(name) else []
        return self._at(keys[-1]) if keys else None

    def existing(self, name: str) -> ServedModel:
        """The model of a name. UsageError lists those that there are."""
        model = self.get(name)
        if model is None:
            known = ", ".join(other.name for other in self.list()) or "none: `batchctl create model` registers one"
            raise UsageError(f"The model {name!r} does not exist; there are: {known}.")
        return model

    def list(self) -> list[ServedModel]:
        """All of them, by name."""
        latest = {key.split("/")[2]: key for key in self._shelf.keys(_MODELS)}
        found = (self._at(key) for key in latest.values())
        return [model for model in found if model is not None]

    def engine_of(self, name: str) -> EngineConfig:
        """What an engine has to be loaded with that answers for a model: its base, with all adapters of that base."""
        model = self.existing(name)
        base = self.existing(model.base) if model.base else model
        adapters = {other.name: other.source for other in self.list() if other.base == base.name}
        return EngineConfig(base.engine, base.source, (base.name,), adapters, base.engine_args)

    def _at(self, key: str) -> ServedModel | None:
        model = self._shelf.get(ServedModel, key)
        return None if model is None or model.is_deleted else model

    def _checked(self, model: ServedModel) -> ServedModel:
        if not _NAME.fullmatch(model.name):
            raise UsageError(f"model name {model.name!r}: expected letters, digits, '.', '_' or '-', at most 128.")
        if model.base and self.existing(model.base).base:
            raise UsageError(f"Model {model.base!r} is an adapter itself; name the base model with --lora-base.")
        return replace(model, engine_args=check_engine_args(model.engine, model.engine_args))

    def _write(self, model: ServedModel) -> None:
        number = len(list(self._shelf.keys(f"{_MODELS}{model.name}/")))
        while self._shelf.create(f"{_MODELS}{model.name}/{number:08d}.json", model) != model:
            number += 1  # somebody else has changed it at the same time: the later change holds
