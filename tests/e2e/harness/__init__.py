"""What the tests stand on: real processes, real clients, and waiting for a state."""

from .api import Api, Call
from .belongings import Belongings
from .bucket import Bucket, ObjectStore
from .certificates import Authority
from .daemon import Daemon
from .fleet import DevFleet, let_jobs_write
from .gate import Gate
from .lan import Lan
from .machines import Machines
from .program import App, Finished, Program
from .proxy import Proxy
from .registry import IMAGE_ENV, Layer, Registry, python_layer
from .secure import SecureFleet
from .served import Served, serve
from .serving import Serving, start_serving
from .split import SplitFleet, Worker
from .volume import Volume
from .waiting import eventually
from .workspaces import new_workspace, second_workspace

__all__ = [
    "Api",
    "App",
    "Authority",
    "Belongings",
    "Bucket",
    "Call",
    "Daemon",
    "DevFleet",
    "Finished",
    "Gate",
    "IMAGE_ENV",
    "Lan",
    "Layer",
    "Machines",
    "ObjectStore",
    "Program",
    "Proxy",
    "Registry",
    "SecureFleet",
    "Served",
    "Serving",
    "SplitFleet",
    "Volume",
    "Worker",
    "eventually",
    "let_jobs_write",
    "new_workspace",
    "python_layer",
    "second_workspace",
    "serve",
    "start_serving",
]
