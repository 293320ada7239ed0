"""A second workspace, for what one must not see of another."""

import secrets
import sqlite3
import uuid
from contextlib import closing
from hashlib import sha256

import requests

from .api import Api
from .split import SplitFleet


def new_workspace(owner: Api, **limits: int) -> Api:
    """A client of a workspace that `owner`, who looks after the installation, has just made."""
    answer = requests.post(
        f"{owner.http}/api/v1/workspace",
        json={"name": f"team-{uuid.uuid4().hex[:8]}", "limits": limits},
        headers={"Authorization": f"Bearer {owner.token}"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    return Api(owner.address, owner.http, answer.json()["token"])


def second_workspace(fleet: SplitFleet) -> str:
    """Makes another workspace in the state of a gateway that does not run; its token."""
    token = secrets.token_urlsafe(66)
    with closing(sqlite3.connect(fleet.root / "gateway" / "state.db")) as state, state:
        state.row_factory = sqlite3.Row
        workspace = dict(state.execute("SELECT * FROM workspaces").fetchone())
        row = dict(state.execute("SELECT * FROM tokens WHERE active = 1").fetchone())
        workspace.update(id=uuid.uuid4().bytes, name=f"other-{uuid.uuid4()}")
        row.update(
            id=uuid.uuid4().bytes, workspace=workspace["id"], hash=sha256(token.encode()).digest()
        )
        for table, values in (("workspaces", workspace), ("tokens", row)):
            marks = ", ".join("?" for _ in values)
            names = ", ".join(values)
            state.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))
    return token
