"""What an engine is loaded with: the part of a job spec that its process is bound to, and no more.

Two jobs of one engine configuration can be answered by one engine, one after the other. Knows nothing of rows.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

import orjson

EngineValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """`lora`: adapter name -> where it lies. `engine_args` are checked and typed by `batch.spec.engine_arguments`."""

    engine: str
    model: str
    served_model_names: tuple[str, ...] = ()
    lora: dict[str, str] = field(default_factory=dict)
    engine_args: dict[str, EngineValue] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What tells it from every other configuration, `sha256:...`."""
        text = orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(text).hexdigest()}"

    @property
    def weights(self) -> tuple[str, ...]:
        """Where the model and its adapters are."""
        return (self.model, *self.lora.values())

    @property
    def model_names(self) -> tuple[str, ...]:
        """The names that the model answers to; the first is the one it gives itself."""
        return self.served_model_names or (self.model,)

    def with_weights_at(self, places: Mapping[str, str]) -> "EngineConfig":
        """The same, under the same names, with its weights where `places` says that copies of them lie."""
        lora = {name: places[weights] for name, weights in self.lora.items()}
        return replace(self, model=places[self.model], served_model_names=self.model_names, lora=lora)
