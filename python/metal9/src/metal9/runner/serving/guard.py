"""What surrounds every application: it says whether the process is well, ends what nobody waits for, and sees what
ends the process.
"""

import asyncio
import logging

# The gateway's own question whether the process answers; never the application's.
_PROBE = b"x-metal9-probe"


class Guard:
    """An ASGI application around another."""

    def __init__(self, app, watch) -> None:
        self._app = app
        self._watch = watch

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if any(name == _PROBE for name, _ in scope["headers"]):
            await _answer(send, 200)
            return
        if scope["path"] == "/health" and scope["method"] in ("GET", "HEAD"):
            send = _Health(send)
        await _until_left(self._app, self._watch, scope, receive, send)


class _Health:
    """Answers for an application that knows no `/health`: one that answers is well."""

    def __init__(self, send) -> None:
        self._send = send
        self._instead = False

    async def __call__(self, message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 404:
            self._instead = True
            await _answer(self._send, 200)
        elif not self._instead:
            await self._send(message)


async def _answer(send, status: int) -> None:
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _until_left(app, watch, scope, receive, send) -> None:
    """Runs the application until it is done, or until its client has gone: then it is cancelled."""
    client = _Client(receive)
    done = False

    async def sending(message) -> None:
        nonlocal done
        await send(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            done = True

    watching = asyncio.ensure_future(client.watch())
    running = asyncio.ensure_future(app(scope, client.receive, sending))
    try:
        await asyncio.wait([running, watching], return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not done:
            running.cancel()
        await running
    except asyncio.CancelledError:
        if not running.done():
            running.cancel()
            raise
        # The client had gone: there is nobody to tell.
        if not running.cancelled():
            raise
    except Exception as error:
        watch.look(error)
        # The server would close the connection, which may carry the next request by now.
        if not done:
            raise
        logging.getLogger("uvicorn.error").exception("the application failed after its answer")
    finally:
        watching.cancel()


class _Client:
    """What the client sends, read one message ahead so that its leaving is seen whatever the application does."""

    def __init__(self, receive) -> None:
        self._receive = receive
        # Holds a message while there is one that the application has not asked for.
        self._ahead = asyncio.Queue(1)
        self._left = None

    async def watch(self) -> None:
        """Returns when the client has left."""
        while self._left is None:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._left = message
                # For an application that waits; one that does not finds it when it asks.
                if self._ahead.empty():
                    self._ahead.put_nowait(message)
                return
            await self._ahead.put(message)

    async def receive(self):
        if self._left is not None and self._ahead.empty():
            return self._left
        return await self._ahead.get()
