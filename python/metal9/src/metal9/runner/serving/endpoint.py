"""The application of an `@endpoint`: JSON becomes the handler's arguments, what it returns becomes the answer."""

import asyncio
import inspect
import json
import re
import traceback
from urllib.parse import parse_qsl

from .. import calls, gpu_faults
from . import callback

# Bytes of a request's body; it is read whole before the handler runs.
_MAX_BODY = 64 * 1024 * 1024

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")


class _Refused(Exception):
    """A request that cannot be given to the handler."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Endpoint:
    """An ASGI application around one handler."""

    def __init__(self, sdk, handler, watch) -> None:
        self._sdk = sdk
        self._handler = handler
        self._watch = watch

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
            return
        if scope["path"] == "/health":
            response = _json({"status": "ok"}, 200)
        else:
            response = await self._respond(scope, receive)
        await response(scope, receive, send)

    async def _respond(self, scope, receive):
        task_id = _header(scope, b"x-task-id")
        try:
            args, kwargs = await _arguments(scope, receive)
        except _Refused as refused:
            return _json({"error": str(refused)}, refused.status)
        context = self._sdk.context(task_id, self._handler.on_start_value)
        failure, headers = None, {}
        try:
            value = answer = await self._call(context, args, kwargs)
            if self._handler.speaks_json:
                # A task of a queue, whose result is kept as if it had not been tried out.
                answer = _encoded(calls.encode_result(self._sdk, self._handler.name, value, as_json=True))
        except calls.CallError as error:
            failure = str(error) + self._if_last(error, headers)
        except SystemExit as error:
            failure = "the handler left with sys.exit(%r)" % (error.code,)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # KeyboardInterrupt and the like are no reason to answer nothing
            failure = traceback.format_exc() + self._if_last(error, headers)
        if failure is not None:
            print(failure, flush=True)
            value = answer = {"error": failure}
        override = kwargs.get("callback_url")
        callback.post(self._sdk, context, value, "COMPLETE" if failure is None else "ERROR", override)
        response = _response(answer, 200 if failure is None else 500)
        response.headers.update(headers)
        return response

    def _if_last(self, error, headers) -> str:
        """What is told if this process serves nothing more because of `error`."""
        if not self._watch.look(error):
            return ""
        # Or the next request might be sent on a connection that is about to close.
        headers["connection"] = "close"
        return "\n%s\n" % gpu_faults.NOTE

    async def _call(self, context, args, kwargs):
        value = self._handler.begin(context, args, kwargs)
        return await value if inspect.isawaitable(value) else value


async def _lifespan(receive, send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _arguments(scope, receive):
    """The handler's arguments, from the body and the query."""
    if scope["path"] not in ("", "/"):
        raise _Refused(404, "an endpoint has no path `%s`" % scope["path"])
    if scope["method"] not in ("GET", "POST"):
        raise _Refused(405, "an endpoint answers GET and POST, not %s" % scope["method"])
    body = await _body(receive)
    payload = {}
    if body.strip():
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _Refused(400, "the body is not JSON: %s" % error) from error
    if not isinstance(payload, dict):
        raise _Refused(400, "the body must be a JSON object, not %s" % type(payload).__name__)
    args = payload.pop("args", None)
    kwargs = payload.pop("kwargs", None)
    if kwargs is None:
        kwargs = payload
    if args is not None and not isinstance(args, list):
        raise _Refused(400, '"args" must be a list, not %s' % type(args).__name__)
    if not isinstance(kwargs, dict):
        raise _Refused(400, '"kwargs" must be an object, not %s' % type(kwargs).__name__)
    kwargs = dict(kwargs)
    kwargs.update(_query(scope["query_string"]))
    return args or [], kwargs


async def _body(receive) -> bytes:
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "the body is not complete")
        piece = message.get("body", b"")
        size += len(piece)
        if size > _MAX_BODY:
            raise _Refused(413, "the body is larger than %d MiB" % (_MAX_BODY >> 20))
        pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces)


def _query(text: bytes):
    """Query parameters: numbers where they look like some, lists where a name is repeated."""
    values = {}
    for name, value in parse_qsl(text.decode("latin-1"), keep_blank_values=True):
        values.setdefault(name, []).append(float(value) if _NUMBER.match(value) else value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def _header(scope, wanted: bytes):
    for name, value in scope["headers"]:
        if name == wanted:
            return value.decode("latin-1")
    return None


def _encoded(data: bytes):
    from starlette.responses import Response

    return Response(data, media_type="application/json")


def _json(value, status: int):
    from starlette.responses import JSONResponse

    return JSONResponse(value, status_code=status)


def _response(value, status: int):
    from starlette.responses import Response, StreamingResponse

    if isinstance(value, Response):
        return value
    if hasattr(value, "__aiter__"):
        return StreamingResponse(_events_async(value), headers=_UNBUFFERED, media_type="text/plain")
    if inspect.isgenerator(value):
        return StreamingResponse(_events(value), headers=_UNBUFFERED, media_type="text/plain")
    try:
        return _json(value, status)
    except Exception:
        text = traceback.format_exc()
        print(text, flush=True)
        return _json({"error": text}, 500)


_UNBUFFERED = {"cache-control": "no-cache"}


async def _events_async(values):
    async for value in values:
        yield _event(value)


def _events(values):
    for value in values:
        yield _event(value)


def _event(value) -> str:
    return "data: %s\n\n" % json.dumps(value if isinstance(value, dict) else {"data": value})
