"""The callback that a stub or a request may ask for, posted beside the requests."""

import asyncio
import os
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

# Callbacks that are posted at a time, and that may wait for that.
_AT_A_TIME, _WAITING = 4, 256

_pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="metal9-callback")
_room = threading.BoundedSemaphore(_WAITING)


def post(sdk, context, payload, status: str, override_url=None) -> None:
    """Posts a callback soon, if one is asked for."""
    if not (override_url or sdk.callback_url()):
        return
    if not _room.acquire(blocking=False):
        print("a callback was left out: %d wait already" % _WAITING, file=sys.stderr)
        return

    def run() -> None:
        try:
            sdk.send_callback(context, payload, status, override_url)
        except BaseException:
            print("the callback could not be sent:", file=sys.stderr)
            traceback.print_exc()
        finally:
            _room.release()

    _pool.submit(run)


class Callbacks:
    """An ASGI application around another: requests are tasks, and end with a callback if the stub wants that."""

    def __init__(self, sdk, app) -> None:
        self._sdk = sdk
        self._app = app

    async def __call__(self, scope, receive, send) -> None:
        task_id = None
        if scope["type"] != "lifespan":
            for name, value in scope["headers"]:
                if name == b"x-task-id":
                    task_id = value.decode("latin-1")
        if task_id is not None:
            # What the SDK keeps with a task, it keeps with this one. Where there are several requests at a time, with
            # the one that came last.
            os.environ["TASK_ID"] = task_id
        if task_id is None or not self._sdk.callback_url():
            await self._app(scope, receive, send)
            return
        status = "COMPLETE"
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception:
            status = "ERROR"
            raise
        finally:
            post(self._sdk, self._sdk.context(task_id, None), None, status)
