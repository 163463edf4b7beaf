"""``rlar serve``: the HTTP server, on this machine only unless a token is set."""

from __future__ import annotations

from typing import Annotated

import typer

from rlar_graph.cli.options import RegistryOption, WorkersOption, settings_from
from rlar_graph.errors import SettingsError


def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", help="Address to listen on; beyond this machine RLAR_SERVER_TOKEN must be set."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on.")] = 8765,
    max_request_mb: Annotated[int, typer.Option("--max-request-mb", min=1, help="Longest request.")] = 32,
    request_seconds: Annotated[
        float, typer.Option("--request-seconds", min=1, help="Longest time for one request.")
    ] = 170.0,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Requests in the making; more are turned away with 429.")
    ] = 2048,
    registry: RegistryOption = None,
    workers: WorkersOption = None,
) -> None:
    """Score over HTTP until the process is told to end; requests in the making are answered first."""
    from dataclasses import replace

    try:
        import uvicorn

        from rlar_graph.server import ServerOptions, create_app
    except ImportError as error:
        raise SettingsError(
            f"the server needs the extra: pip install 'rlar-graph[server]' ({error})"
        ) from error
    settings = settings_from(registry, workers)
    options = replace(
        ServerOptions.of(settings),
        request_bytes=max_request_mb * 2**20,
        request_seconds=request_seconds,
        pending_requests=queue,
    )
    options.check_host(host)
    _check_port(host, port)
    app = create_app(settings, options)
    typer.echo(f"rlar: listening on http://{host}:{port}; its routes are at /docs", err=True)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        backlog=4096,
        timeout_graceful_shutdown=int(request_seconds) + 5,
        proxy_headers=False,
    )


def _check_port(host: str, port: int) -> None:
    """Refuse what cannot be listened on before anything says that it is.

    Raises:
        SettingsError: The port is taken or not ours to take, or the host has no address here.
    """
    import errno
    import socket

    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            socket.create_server(address[:2], family=family).close()
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, socket.EAI_NONAME):
            return  # the server itself knows more of what a host may be
        said = str(error.strerror).partition(" (")[0]
        raise SettingsError(
            f"cannot listen on {host}:{port}: {said}; name another --port or --host"
        ) from error
