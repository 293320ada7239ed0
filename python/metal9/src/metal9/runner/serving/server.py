"""uvicorn in this process, on the loop that the handler's `on_start` ran on."""

import asyncio
import contextlib
import logging
import os
import socket
import threading

from .. import errors, process
from ..handler import AppError
from . import callback, endpoint, guard

# Seconds until a connection without a request is closed by this side. It never is: a connection that closes just when
# a request comes would lose it, so closing is left to the gateway.
_IDLE_SECONDS = 10 * 24 * 3600
# Connections that wait to be accepted.
_BACKLOG = 1024
# Seconds that requests may take to end when the container ends.
_GRACEFUL_SECONDS = 1


def listen(number: int, code_dir: str) -> socket.socket:
    """Makes the socket of the process of this number, beside the directory of the code."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # By a short name: the address of a Unix socket may have about a hundred bytes.
    os.chdir(code_dir)
    name = "../http-%d.sock" % number
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    sock.bind(name)
    os.chmod(name, 0o600)
    sock.listen(_BACKLOG)
    return sock


def application(sdk, handler, watch):
    """The ASGI application of the stub. Raises AppError, or what the user's code raised."""
    if not sdk.is_asgi():
        return guard.Guard(endpoint.Endpoint(sdk, handler, watch), watch)
    made = sdk.make_app(handler)
    if asyncio.iscoroutine(made):
        made = handler.run(made)
    if not callable(made):
        raise AppError(
            "%s must return an ASGI application (as FastAPI() is one), not %s"
            % (handler.name, type(made).__name__)
        )
    return guard.Guard(callback.Callbacks(sdk, made), watch)


def serve(session, sdk, handler, app, sock, micros, watch) -> None:
    """Serves until the worker wants this process gone. Returns the text of why it could not begin, or None."""
    server = _server(app)
    watch.then(server.refuse_and_end)
    return handler.run(_serve(session, sdk, server, sock, micros, watch))


def _server(app):
    import uvicorn

    class Server(uvicorn.Server):
        # Signals are the runner's business.
        @contextlib.contextmanager
        def capture_signals(self):
            yield

        def install_signal_handlers(self):
            pass

        def refuse_and_end(self):
            """Ends with the requests that are here, and lets no other come meanwhile."""
            self.should_exit = True
            for listening in self.servers:
                listening.close()
            for connection in list(self.server_state.connections):
                connection.shutdown()

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        # Only the worker reaches the socket.
        forwarded_allow_ips="*",
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        backlog=_BACKLOG,
    )
    return Server(config)


async def _serve(session, sdk, server, sock, micros, watch):
    loop = asyncio.get_running_loop()
    serving = loop.create_task(server.serve(sockets=[sock]))
    failure = await _begin(server, serving)
    if failure is not None:
        return failure
    session.send({"type": "loaded", "micros": micros()})
    _follow(session, sdk, server, loop)
    await asyncio.wait([serving])
    if watch.seen:
        session.leave(process.EXIT_GPU_FAULT)
    session.leave(process.EXIT_CANCELLED if serving.cancelled() else session.exit_code())


async def _begin(server, serving):
    """Waits until the application has started; why it has not, or None."""
    while not server.started and not serving.done():
        await asyncio.sleep(0.002)
    if server.started:
        return None
    try:
        error = serving.exception()
    except asyncio.CancelledError:
        error = None
    if error is not None and not isinstance(error, SystemExit):
        logging.getLogger("uvicorn.error").error("the application did not start", exc_info=error)
        return errors.describe(error)
    # Its traceback is on stderr.
    return "the application's start-up failed"


def _follow(session, sdk, server, loop) -> None:
    """Does what the worker says from here on, on a thread: the loop may be busy with the user's code."""

    def stop() -> None:
        server.should_exit = True

    def follow() -> None:
        while True:
            message = session.next_message()
            if message["type"] == "call":
                call = message["call"]
                sdk.begin_call(call.task_id, call.token)
                session.send({"type": "started", "id": call.id})
            elif message["type"] != "load":
                loop.call_soon_threadsafe(stop)
                return

    threading.Thread(target=follow, name="metal9-serving", daemon=True).start()
