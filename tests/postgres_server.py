"""A PostgreSQL server of the test run's own: made in a temporary folder, started, and gone at the end.

The binaries come from the system's packages (Debian: ``postgresql``). PostgreSQL refuses to run as root, so for root it
runs as ``nobody``. It listens on a Unix socket in its own folder, where no other test can be in its way, and asks for
a password, so that tests can look for it where it must not be shown.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import sqlalchemy as sa

PASSWORD = "hush-4711"
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "listen_addresses": "",
}
READY_SECONDS = 120.0


def binaries() -> Path | None:
    """Return the folder of the newest server on this machine, or None where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    config = shutil.which("pg_config")
    if config is not None:
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout
        folders.append(Path(said.strip()))
    found = [path for path in folders if (path / "initdb").exists() and (path / "postgres").exists()]
    return found[-1] if found else None


class PostgresServer:
    """One running server; :meth:`stop` and :meth:`start` make it come back with what it held."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None

    @cached_property
    def _account(self) -> dict[str, object]:
        """What :mod:`subprocess` needs to start it as another user than root."""
        if os.getuid() != 0:
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}

    def make(self) -> None:
        """Make the cluster's files."""
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._account:
            shutil.chown(self.folder, "nobody")
            shutil.chown(password, "nobody")
        options = ["-U", "rlar", "-A", "scram-sha-256", f"--pwfile={password}", "--no-sync", "-E", "UTF8"]
        done = subprocess.run(  # type: ignore[call-overload]
            [self._programs / "initdb", "-D", self.folder / "data", "--locale=C", *options],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            **self._account,
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr}")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        told = [option for name, value in SETTINGS.items() for option in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload]
                [self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *told],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._account,
            )
        end = time.monotonic() + READY_SECONDS
        while not self._answers():
            if time.monotonic() > end:
                raise TimeoutError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with self._administering() as connection:
                return connection.execute(sa.text("SELECT 1")).scalar() == 1
        except sa.exc.OperationalError:
            return False

    def stop(self) -> None:
        """Stop the server at once; every connection to it breaks."""
        if self._process is not None:
            self._process.send_signal(3)  # SIGQUIT: immediate shutdown, recovery at the next start
            self._process.wait(READY_SECONDS)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://rlar:{PASSWORD}@/{database}?host={self.folder}"

    @contextmanager
    def _administering(self) -> Iterator[sa.Connection]:
        url = sa.make_url(self.url("postgres")).set(drivername="postgresql+psycopg")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, give its URL, and drop it."""
        name = f"rlar_test_{uuid.uuid4().hex[:12]}"
        with self._administering() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
        try:
            yield self.url(name)
        finally:
            with self._administering() as connection:
                connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


class ServerElsewhere(PostgresServer):
    """A server that runs already, named by ``RLAR_TEST_POSTGRES``; it is neither started nor stopped."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return self._url.set(database=database).render_as_string(hide_password=False)


@contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Start a server and end it.

    Raises:
        FileNotFoundError: There are no binaries of a server on this machine.
    """
    programs = binaries()
    if programs is None:
        raise FileNotFoundError("no PostgreSQL server is installed here (Debian: apt-get install postgresql)")
    # Not where TMPDIR says: a socket's path may have 107 bytes, and another user must be able to come here.
    folder = Path(tempfile.mkdtemp(prefix="rlar-pg-", dir="/tmp"))
    server = PostgresServer(folder, programs)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
