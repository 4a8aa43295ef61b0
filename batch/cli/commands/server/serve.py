"""`serve`: the server's process, from flags to its end."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from batch.cli.commands.server.root import root_option, server_at
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.server.scheduler import Scheduler
    from batch.server.server import BatchServer

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@click.command()
@root_option
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), metavar="N", help="For the Build SDK; default: no gRPC.")
@click.option("--grpc-insecure", is_flag=True, help="gRPC without TLS beyond loopback, as that client speaks it.")
@click.option("--no-auth", is_flag=True, help="Ask for no key; on loopback only, as one account, `local`.")
@click.option("--ray-address", metavar="A", help="Run the jobs on this cluster; default: on this machine.")
@click.option(
    "--jobs-at-once",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="So many run at a time, on a cluster or on a machine without GPUs; with GPUs as many as they are for.",
)
@click.option("--no-scheduler", is_flag=True, help="Start no job here: another server over the same root does.")
@click.option(
    "--max-file-bytes", type=click.IntRange(min=1), metavar="N", help="The largest upload. Default: 200,000,000."
)
@click.option("--tls-cert", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="A chain, as PEM.")
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), metavar="FILE", help="Its key, as PEM.")
def serve(host: str, port: int, no_auth: bool, no_scheduler: bool, **given: Any) -> None:
    """Serve the clients of OpenAI's Batch API; jobs run on this machine, and go on when the server ends.

    An admin makes accounts, keys and models beside it: `batchctl create account|api-key|model --root URI`.
    """
    if no_auth and host not in LOOPBACK:
        raise UsageError(f"--no-auth lets everybody in, and {host} is not loopback; leave out one of the two.")
    if given["grpc_port"] is not None and host not in LOOPBACK and not given["grpc_insecure"]:
        raise UsageError(
            f"gRPC is clear text, keys and all, and {host} is not loopback; --grpc-insecure says it may be."
        )
    if bool(given["tls_cert"]) != bool(given["tls_key"]):
        raise UsageError("--tls-cert and --tls-key go together.")
    _check_installed("fastapi", "uvicorn", "python_multipart", *(("grpc",) if given["grpc_port"] is not None else ()))
    from batch.server.access import OWN_ACCOUNT
    from batch.server.http.app import make_app
    from batch.server.process import Address, Beside
    from batch.server.process import serve as run_server

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    server = _server(given["root"], given["max_file_bytes"])
    server.probe()
    if no_auth:
        server.create_account(OWN_ACCOUNT)
    scheduler = None if no_scheduler else _scheduler(server, given["ray_address"], given["jobs_at_once"])
    why_waiting = scheduler.reason if scheduler else _unknown
    app = make_app(server, asks_for_keys=not no_auth, why_waiting=why_waiting)
    scheme = "https" if given["tls_cert"] else "http"

    def on_ready(bound: int) -> Beside | None:
        shown = f"[{host}]" if ":" in host else host
        base_url = f"{scheme}://{shown}:{bound}"
        click.echo(f"batchctl serves {server.root.uri} on {base_url}/v1")
        if given["grpc_port"] is None:
            return None
        from batch.server.grpc.service import grpc_server

        address = f"{shown}:{given['grpc_port']}"
        door = grpc_server(server, address, base_url=base_url, asks_for_keys=not no_auth, why_waiting=why_waiting)
        door.start()
        click.echo(f"and the Build SDK over gRPC on {address}")
        beside: Beside = door
        return beside

    run_server(
        server,
        app,
        Address(host, port, given["tls_cert"], given["tls_key"]),
        scheduler=scheduler,
        on_ready=on_ready,
    )


def _server(root: str, max_file_bytes: int | None) -> BatchServer:
    from batch.server.server import BatchServer, Limits

    server = server_at(root)
    return server if max_file_bytes is None else BatchServer(server.root, limits=Limits(file_bytes=max_file_bytes))


def _scheduler(server: BatchServer, ray_address: str | None, jobs_at_once: int) -> Scheduler:
    from batch.machine.launcher import GPUS_VARIABLE, Launcher
    from batch.machine.resources import gpu_count
    from batch.server.scheduler import Place, Scheduler
    from batch.settings import variable

    named = variable(GPUS_VARIABLE)
    gpus = [name for name in named.split(",") if name] if named is not None else [str(n) for n in range(gpu_count())]
    return Scheduler(server, Place(tuple(gpus), ray_address, jobs_at_once), launcher=Launcher())


def _unknown(account_id: str, job_id: str) -> str:  # noqa: ARG001
    """A server without a scheduler knows no reasons."""
    return ""


def _check_installed(*names: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UsageError(f"{', '.join(missing)} missing: pip install 'batchctl[server]'.")
