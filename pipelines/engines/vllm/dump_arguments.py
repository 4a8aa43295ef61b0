"""Writes batch/spec/engine_arguments.json from vLLM's own argument parser: run it when vLLM is upgraded.

    python -m pipelines.engines.vllm.dump_arguments [--check]

`batch` never imports vLLM, yet tells a wrong engine argument at once: by this file. Knows nothing of jobs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

TARGET = Path(__file__).parents[3] / "batch" / "spec" / "engine_arguments.json"

# What the job spec says by fields of its own, and what belongs to vLLM's batch runner and not to its engine.
# hf_token: a spec is stored for all to read, so that a secret has to come by the environment (HF_TOKEN).
_NOT_OURS = frozenset({"help", "model", "served_model_name", "lora_modules", "hf_token"})
_RUNNER = frozenset({"input_file", "output_file", "output_tmp_dir", "enable_metrics", "host", "port", "url"})
_HELP_CHARACTERS = 160


# Which other argument brings names of its own for these, besides those that vLLM has.
_PLUGINS = {"tool_call_parser": "tool_parser_plugin", "reasoning_parser": "reasoning_parser_plugin"}
_FILES = frozenset({"chat_template", "tool_parser_plugin", "reasoning_parser_plugin"})


@dataclass(frozen=True, slots=True)
class Registry:
    """What vLLM knows of its arguments beside their parser: argument -> names that there are, or least value."""

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    minimums: Mapping[str, object] = field(default_factory=dict)


def describe(parser: argparse.ArgumentParser, registry: Registry) -> dict[str, dict[str, object]]:
    """Return name -> kind, help and, where it has them, choices, many, one_way, minimum, plugin; sorted by name."""
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_OURS | _RUNNER}
    for name, action in actions.items():
        if "--" + name.replace("_", "-") not in action.option_strings:
            raise SystemExit(f"{name} is not the name of its option: {action.option_strings}")
    return {name: _description(actions[name]) | _known(actions[name], registry) for name in sorted(actions)}


def _description(action: argparse.Action) -> dict[str, object]:
    described: dict[str, object] = {"kind": _kind(action), "help": _first_sentence(action.help or "")}
    if action.choices is not None:
        described["choices"] = [str(choice) for choice in action.choices if choice is not None]
    if action.nargs == "+":
        described["many"] = True
    if described["kind"] == "flag" and len([o for o in action.option_strings if o.startswith("--")]) == 1:
        described["one_way"] = True
    return described


def _known(action: argparse.Action, registry: Registry) -> dict[str, object]:
    """Return what the parser does not say."""
    name, known = action.dest, dict[str, object]()
    if name in _FILES:
        known["kind"] = "file"
    if name in registry.names:
        known |= {"kind": "choice", "choices": sorted(registry.names[name])}
    if name in _PLUGINS:
        known["plugin"] = _PLUGINS[name]
    if name in registry.minimums and _kind(action) in ("int", "float"):
        known["minimum"] = registry.minimums[name]
    return known


def _kind(action: argparse.Action) -> str:
    if action.nargs == 0:
        return "flag"
    if action.choices is not None:
        return "choice"
    if _takes(action, '{"a": {"b": 1}}', dict):  # before the numbers: a reader of any JSON takes those too
        return "str" if _takes(action, "plain text", str) else "json"
    if _takes(action, "7", int):
        return "size" if _takes(action, "8k", int) else "int"
    if _takes(action, "0.5", float):
        return "float"
    # What is left reads a list of its own notation, or the JSON of one of vLLM's config classes.
    return "str" if _takes(action, "plain text", str) or _takes(action, "plain text", list) else "json"


def _takes(action: argparse.Action, text: str, kind: type) -> bool:
    """True when the option reads this text as a value of the kind."""
    if not callable(action.type):
        return kind is str
    try:
        return type(action.type(text)) is kind
    except (ValueError, TypeError, argparse.ArgumentTypeError):
        return False


def _first_sentence(text: str) -> str:
    line = " ".join(text.replace("%%", "%").split())
    sentence = line.split(". ")[0].removesuffix(".")
    return sentence if len(sentence) <= _HELP_CHARACTERS else sentence[: _HELP_CHARACTERS - 3] + "..."


def vllm_registry() -> Registry:
    """Return what the vLLM of this environment knows."""
    from annotated_types import Ge
    from vllm import config
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    names = {
        "tool_call_parser": ToolParserManager.list_registered(),
        "reasoning_parser": ReasoningParserManager.list_registered(),
        "quantization": QUANTIZATION_METHODS,
    }
    configs = (config.ModelConfig, config.CacheConfig, config.ParallelConfig, config.SchedulerConfig, config.LoRAConfig)
    minimums = {
        name: bound.ge
        for described in configs
        for name, told in described.__pydantic_fields__.items()
        for bound in told.metadata
        if isinstance(bound, Ge)
    }
    return Registry(names, minimums)


def main() -> int:
    """Write the file; with --check tell only whether it is what vLLM says. Takes some 20 s: it imports vLLM."""
    check = "--check" in sys.argv[1:]
    sys.argv[1:] = ["--help"]  # vLLM reads its own source for the help texts only when it sees this
    import vllm
    from vllm.entrypoints.launchers.run_batch import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    arguments = describe(make_arg_parser(FlexibleArgumentParser()), vllm_registry())
    described = {"vllm": vllm.__version__, "arguments": arguments}
    content = orjson.dumps(described, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if check:
        return 0 if TARGET.read_bytes() == content else 1
    TARGET.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
