"""Start-up: become a spare as fast as can be, then serve."""

import gc
import importlib
import os
import sys

from . import process, sdk as sdk_module
from .frames import Connection
from .output import Output
from .process import EXIT_UNUSABLE_SDK, Interrupts, StartError
from .strays import Strays


def main() -> None:
    """Runs the runner. Does not return."""
    try:
        connection = Connection(process.take_socket())
    except StartError as error:
        print("metal9 runner: %s" % error, file=sys.stderr)
        sys.exit(2)
    strays = Strays()
    process.clean_environment()
    process.close_stdin()
    output = Output()
    process.report_crashes()
    interrupts = Interrupts()
    interrupts.install()

    # Hundreds of classes are made and nothing is thrown away: collecting now would only cost a fifth of the time.
    gc.disable()
    try:
        sdk = sdk_module.Sdk()
    except sdk_module.SdkError as error:
        print("metal9 runner: %s" % error, file=sys.stderr)
        output.flush()
        connection.send({"type": "load_failed", "text": str(error)})
        os._exit(EXIT_UNUSABLE_SDK)

    from .session import Session

    session = Session(connection, sdk, output, interrupts, strays)
    session.start()
    session.send(
        {
            "type": "ready",
            "pid": os.getpid(),
            "python": "%d.%d.%d" % sys.version_info[:3],
            "versions": {"beta9": sdk.version},
        }
    )
    _warm(session)
    output.settle_c_library()
    # What is imported so far lives as long as the process; later collections need not look at it.
    gc.freeze()
    gc.enable()
    session.serve()


def _warm(session) -> None:
    """Imports what the user's code is likely to import, for as long as nobody waits."""
    for name in sdk_module.WARM_MODULES:
        if session.waiting():
            return
        try:
            importlib.import_module(name)
        except Exception:
            # Only a head start: whoever really needs it will see the error.
            return
