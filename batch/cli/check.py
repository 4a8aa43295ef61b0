"""Warnings and bad lines as the command line prints them. Starts nothing."""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING

import click

from batch.text import one_line

if TYPE_CHECKING:
    from batch.submission.first_look import FirstLook


def first_look(*, may_all_fail: bool, as_json: bool) -> FirstLook:
    """A look whose warnings and bad lines are printed on stderr."""
    from batch.submission.first_look import FirstLook

    return FirstLook(may_all_fail, partial(warn, as_json=as_json), partial(print, file=sys.stderr))


def look_asked_for(ctx: click.Context, *, as_json: bool) -> FirstLook:
    """The look of a command that has --on-invalid: `quarantine` has to be said by the user, not by default."""
    is_said = ctx.get_parameter_source("on_invalid") is click.core.ParameterSource.COMMANDLINE
    return first_look(may_all_fail=is_said and ctx.params["on_invalid"] == "quarantine", as_json=as_json)


def warn(warning: str, *, as_json: bool) -> None:
    """One line on stderr."""
    text = one_line(warning)
    click.echo(json.dumps({"warning": text}) if as_json else f"warning: {text}", err=True)
