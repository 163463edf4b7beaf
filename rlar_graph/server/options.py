"""What a server can be told, and where it may listen."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Self

from rlar_graph.errors import SettingsError
from rlar_graph.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Token and limits of a server."""

    token: str | None = None
    """What requests must carry as ``Authorization: Bearer``; None serves this machine only."""
    request_bytes: int = 32 * 2**20
    """Longer requests are refused (413)."""
    request_seconds: float = 170.0
    """Requests that take longer are given up (504); OpenRLHF gives up at 180 s, slime at 120."""
    upload_seconds: float = 30.0
    """A request whose body takes longer to arrive is given up (408)."""
    pending_requests: int = 2048
    """Requests in the making; more are turned away (429)."""
    pending_bytes: int = 256 * 2**20
    """Bytes of all bodies in the making; more are turned away (429)."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the defaults with the token of the settings."""
        token = settings.server_token
        return cls(token=token.get_secret_value() or None if token else None)

    def check_host(self, host: str) -> None:
        """Refuse to listen beyond this machine without a token.

        Raises:
            SettingsError: The host is not a loopback address and there is no token.
        """
        if self.token is None and not is_loopback(host):
            raise SettingsError(
                f"will not listen on {host} without a token: set RLAR_SERVER_TOKEN, or listen on 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
