"""Argument lists that people and scripts may give to batchctl, from a seed: good ones, and good ones with faults."""

from random import Random

import click

from batch.cli.lazy import LazyGroup
from batch.cli.main import batchctl

# What each call means, with {new} for an id or folder that nothing else has.
GOOD = [
    "run in.jsonl --model m --engine echo --output {new}",
    "run rows --model org/name --output {new} --prompt-template {{q}}",
    "run in.jsonl --model m --engine openai --engine-arg base_url=http://x/v1 --output {new}",
    "validate in.jsonl",
    "validate rows --prompt-template {{q}} --model m",
    "create dataset {new} in.jsonl",
    "create dataset {new} --external-url rows",
    "create bij -m m -d d1 --engine echo",
    "create bij -m m -d d1 --engine echo --dry-run",
    "create bij --continue-from j1",
    "get dataset d1",
    "get batch-inference-job j1",
    "list datasets",
    "list bij",
    "update dataset d1 --display-name x",
    "delete dataset {new}",
    "delete bij {new}",
    "download dataset d1 --output-dir {new}",
    "cancel out",
    "cancel bij j1",
    "resume out",
    "resume bij j1",
    "resume out --retry-failed timeout --output {new}",
    "results out --errors",
    "logs out",
    "status out",
    "version",
    "whoami",
]
NUMBERS = [
    "0",
    "-1",
    "1",
    "1.5",
    "1e309",
    "nan",
    "inf",
    "9" * 20,
    "9" * 400,
    "9" * 5000,
    "1:8",
    "8:1",
    "5%",
    "101%",
    "٣",
]
TIMES = ["24h", "0s", "1h30m", "9" * 20 + "d", "9" * 400 + "s", "soon"]
JSON = [
    "{}",
    "{",
    "[1]",
    "[" * 20_000,
    '{"a":NaN}',
    '{"a":"\\ud800"}',
    '{"a":1' + "0" * 40 + "}",
    '{"seed":7}',
    '{"n":0}',
]
PLACES = [
    "in.jsonl",
    "rows",
    "rows/*.jsonl",
    "missing.jsonl",
    "messages.json",
    "out",
    "workspace",
    "many/../rows",
    "..",
    "**",
]
PLACES += ["memory://x", "memory://", "s3://", "s3:///k", "ftp://h/x", "file://", "http://[", "~nobody/x", "x" * 3000]
PAIRS = ["a=b", "a=", "=b", "=", "base_url=x", "delay_s=1", "max_model_len=8k", "hf_overrides={", "a.b=c", "lora=rows"]
TEXTS = [
    "",
    "-",
    "--",
    "--help",
    "a b",
    "é",
    "\udcff",
    "\u202e",
    "\x1b[31m",
    "\n",
    "{q}",
    "{",
    "{a.b}",
    "[",
    "m",
    "d1",
    "j1",
    ",",
]
TEXTS += [
    "accounts/local/datasets/d1",
    "accounts/x/y/z",
    "timeout",
    "json",
    "text",
    "flag",
    "echo",
    "vllm",
    "name desc",
    "name,,",
]
FILTERS = [
    "state=COMPLETED",
    "(" * 3000,
    "NOT " * 2000 + "name=a",
    "create_time>x",
    "failed>é",
    "AAAA",
    "W10=",
    "WzEsMl0=",
]
WORDS = [*NUMBERS, *TIMES, *JSON, *PLACES, *PAIRS, *TEXTS, *FILTERS]


def argument_list(seed: int) -> list[str]:
    """A good call with up to three words put in, replaced or left out."""
    random = Random(seed)
    words = random.choice(GOOD).format(new=f"new-{seed}").split()
    options = [param for param in _command(words).params if isinstance(param, click.Option)]
    # These wait for a worker, of which there is none.
    options = [option for option in options if not option.opts[0].startswith("--wait")]
    for _ in range(random.randint(1, 3)):
        kind = random.random()
        if kind < 0.6:
            at = random.randint(1, len(words))
            words[at:at] = _option(random, random.choice(options))
        elif kind < 0.9:
            words[random.randrange(len(words))] = random.choice(WORDS)
        elif len(words) > 1:
            del words[random.randrange(len(words))]
    return words if random.random() < 0.95 else random.sample(words, len(words))


def _command(words: list[str]) -> click.Command:
    command: click.Command | None = batchctl
    rest = words
    while isinstance(command, LazyGroup):
        _, command, rest = command.resolve_command(click.Context(command), rest)
    assert command is not None, words
    return command


def _option(random: Random, option: click.Option) -> list[str]:
    name = random.choice([*option.opts, *option.secondary_opts])
    if option.is_flag:
        return [name]
    value = random.choice(WORDS)
    if isinstance(option.type, click.Choice) and random.random() < 0.5:
        value = random.choice(list(option.type.choices))
    return random.choice([[name, value], [name, value], [name, value], [f"{name}={value}"], [name]])
