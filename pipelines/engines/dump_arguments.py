"""Writes batch/engine_arguments.json from vLLM's own argument parser: run it when vLLM is upgraded.

    python -m pipelines.engines.dump_arguments [--check]

`batch` never imports vLLM, yet tells a wrong engine argument at once: by this file. Knows nothing of jobs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import orjson

TARGET = Path(__file__).parents[2] / "batch" / "engine_arguments.json"

# What the job spec says by fields of its own, and what belongs to vLLM's batch runner and not to its engine.
# hf_token: a spec is stored for all to read, so that a secret has to come by the environment (HF_TOKEN).
_NOT_OURS = frozenset({"help", "model", "served_model_name", "lora_modules", "hf_token"})
_RUNNER = frozenset({"input_file", "output_file", "output_tmp_dir", "enable_metrics", "host", "port", "url"})
_HELP_CHARACTERS = 160


def describe(parser: argparse.ArgumentParser) -> dict[str, dict[str, object]]:
    """Return name -> kind, help and, where it has them, choices, many, one_way; sorted by name."""
    actions = {action.dest: action for action in parser._actions if action.dest not in _NOT_OURS | _RUNNER}
    for name, action in actions.items():
        if "--" + name.replace("_", "-") not in action.option_strings:
            raise SystemExit(f"{name} is not the name of its option: {action.option_strings}")
    return {name: _description(actions[name]) for name in sorted(actions)}


def _description(action: argparse.Action) -> dict[str, object]:
    described: dict[str, object] = {"kind": _kind(action), "help": _first_sentence(action.help or "")}
    if action.choices is not None:
        described["choices"] = [str(choice) for choice in action.choices if choice is not None]
    if action.nargs == "+":
        described["many"] = True
    if described["kind"] == "flag" and len([o for o in action.option_strings if o.startswith("--")]) == 1:
        described["one_way"] = True
    return described


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


def main() -> int:
    """Write the file; with --check tell only whether it is what vLLM says. Takes some 20 s: it imports vLLM."""
    check = "--check" in sys.argv[1:]
    sys.argv[1:] = ["--help"]  # vLLM reads its own source for the help texts only when it sees this
    import vllm
    from vllm.entrypoints.launchers.run_batch import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    described = {"vllm": vllm.__version__, "arguments": describe(make_arg_parser(FlexibleArgumentParser()))}
    content = orjson.dumps(described, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    if check:
        return 0 if TARGET.read_bytes() == content else 1
    TARGET.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
