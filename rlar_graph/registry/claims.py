"""Claims: leases by which many processes agree on who acquires a tool for a family.

A claim is one row, taken by one atomic upsert, that runs out by the database's clock. A holder that is killed
leaves a claim that another process can take once it has run out; one that is alive renews it.
"""

from __future__ import annotations

import os
import secrets
import socket

import sqlalchemy as sa

from rlar_graph.registry.database import Database
from rlar_graph.registry.tables import claims


def new_owner() -> str:
    """Return a name for one acquisition that no other process or thread has."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(6)}"


def take(connection: sa.Connection, database: Database, family: str, owner: str, seconds: float) -> bool:
    """Take the claim if it is free, has run out, or is the owner's already; say whether the owner has it."""
    insert = database.upsert(claims).values(family=family, owner=owner, expires=database.now + seconds)
    free = sa.or_(claims.c.expires <= database.now, claims.c.owner == insert.excluded.owner)
    taken = insert.on_conflict_do_update(
        index_elements=["family"],
        set_={"owner": insert.excluded.owner, "expires": insert.excluded.expires},
        where=free,
    )
    return connection.execute(taken.returning(claims.c.family)).first() is not None


def renew(connection: sa.Connection, database: Database, family: str, owner: str, seconds: float) -> bool:
    """Let the owner's claim run on from now; False if it is not the owner's any more."""
    mine = sa.and_(claims.c.family == family, claims.c.owner == owner)
    renewed = claims.update().where(mine).values(expires=database.now + seconds)
    return connection.execute(renewed).rowcount == 1


def release(connection: sa.Connection, family: str, owner: str) -> None:
    """Give the claim back, if it is the owner's."""
    connection.execute(claims.delete().where(claims.c.family == family, claims.c.owner == owner))


def holder(connection: sa.Connection, database: Database, family: str) -> str | None:
    """Return the owner of a claim that has not run out."""
    query = sa.select(claims.c.owner).where(claims.c.family == family, claims.c.expires > database.now)
    return connection.execute(query).scalar()
