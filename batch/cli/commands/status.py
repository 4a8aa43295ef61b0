"""`status`: how one job stands, whoever runs it: state, counts, speed, engine and parameters, where its log is."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from batch.cli.flags.common import global_options, output_option, settings
from batch.cli.flags.completion import jobs_and_folders
from batch.text import address, duration, number, shortened

if TYPE_CHECKING:
    from batch.jobs.store import JobStore

Shown = dict[str, Any]


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@output_option("text", "json")
@global_options
@click.pass_context
def status(ctx: click.Context, job: str, mode: str) -> None:
    """Show how JOB stands, a job id or an output: state, counts, speed, engine, parameters and where its log is."""
    from batch.cli.flags.target import find_job

    shown = look_at(find_job(job, settings(ctx)))
    click.echo(json.dumps(shown, indent=2, ensure_ascii=False) if mode == "json" else _as_text(shown))


def look_at(job_store: JobStore) -> Shown:
    """All that a status tells, by its names in JSON."""
    from batch.cli.flags.target import where_log_is
    from batch.clock import SystemClock
    from batch.jobs.lease import this_process, why_idle

    record = job_store.record(SystemClock().now())
    spec, progress, manifest = record.spec, record.progress, record.manifest
    is_running = record.holder is not None and manifest is None
    reports = job_store.engine_reports(record.attempts) if is_running else []
    return {
        "job_id": record.job_id,
        "state": record.state.value,
        "message": record.message,
        "idle": why_idle(record, this_process()),
        "rows_total": record.rows if manifest is None else progress.rows_total,
        "rows_done": progress.rows_done,
        "succeeded": progress.succeeded,
        "failed": progress.failed,
        "prompt_tokens": progress.prompt_tokens,
        "completion_tokens": progress.completion_tokens,
        "rows_per_s": round(progress.rows_per_s, 2) if is_running else None,
        "prompt_tokens_per_s": round(progress.prompt_tokens_per_s, 1) if is_running else None,
        "completion_tokens_per_s": round(progress.completion_tokens_per_s, 1) if is_running else None,
        "eta_s": progress.eta_s if is_running else None,
        "engines": [
            {"phase": each.phase, "in_flight": each.in_flight, "in_line": each.in_line}
            | (asdict(each.load) if each.load else {})
            for each in reports
        ],
        "model": spec.model,
        "lora": spec.lora,
        "engine": spec.engine,
        "engine_args": spec.engine_args,
        "inference_parameters": spec.parameters.to_dict(),
        "inputs": list(spec.inputs),
        "output": job_store.uri,
        "attempts": record.attempts,
        "holder": f"process {record.holder.pid} on {record.holder.host}" if record.holder else None,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "updated_at": record.updated_at,
        "finished_at": record.finished_at,
        "log": where_log_is(job_store, record.attempts) if record.attempts else "",
    }


def _as_text(shown: Shown) -> str:
    since = f" since {shown['started_at']}" if shown["started_at"] else ""
    attempt = f"attempt {shown['attempts']}, {shown['holder']}{since}" if shown["holder"] else shown["message"]
    lines = [
        f"{shown['job_id']} {shown['state'].lower()}" + (f": {shortened(attempt)}" if attempt else ""),
        _line("idle", shown["idle"]),
        _line("rows", _rows(shown)),
        _line("speed", _speed(shown)),
        *(_line("engine", _engine(each)) for each in shown["engines"]),
        _line("model", ", ".join([shown["model"], *(f"{name}={path}" for name, path in shown["lora"].items())])),
        _line(
            "runs on", " ".join([shown["engine"], *(f"{name}={value}" for name, value in shown["engine_args"].items())])
        ),
        _line("asked", ", ".join(f"{name}={json.dumps(v)}" for name, v in shown["inference_parameters"].items())),
        _line("inputs", ", ".join(address(uri) for uri in shown["inputs"])),
        _line("output", address(shown["output"])),
        _line("log", shown["log"]),
    ]
    return "\n".join(line for line in lines if line)


def _line(name: str, text: str | None) -> str:
    return f"  {name:<8}{shortened(text)}" if text else ""


def _rows(shown: Shown) -> str:
    total = shown["rows_total"]
    of_all = f" of {total:,} done ({100 * shown['rows_done'] // total} %)" if total else " done"
    return f"{shown['rows_done']:,}{of_all}: {shown['succeeded']:,} succeeded, {shown['failed']:,} failed"


def _speed(shown: Shown) -> str:
    if not shown["rows_per_s"]:
        return ""
    read, written = number(shown["prompt_tokens_per_s"]), number(shown["completion_tokens_per_s"])
    left = "" if shown["eta_s"] is None else f"; {duration(shown['eta_s'])} left"
    return f"{number(shown['rows_per_s'])} rows/s, {read} tokens/s in, {written} out{left}"


def _engine(engine: Shown) -> str:
    text = f"{engine['phase']}: {engine['in_flight']:,} rows in flight, {engine['in_line']:,} in line"
    if "kv_cache_use" not in engine:
        return text
    return (
        f"{text}; KV cache {100 * engine['kv_cache_use']:.0f} % used, {engine['waiting']:,} waiting in the engine, "
        f"{engine['preemptions']:,} preemptions"
    )
