"""The callback a stub or a call may ask for when it ends."""

import sys
import threading
import traceback

# Seconds a cancelled handler waits for its callback before it is interrupted; the worker kills 3 s after the cancel.
_HEAD_START = 1.0

_STATUS_OF_REASON = {"cancelled": "CANCELLED", "timeout": "TIMEOUT"}


def post(sdk, call, on_start_value, payload, status: str) -> None:
    """Posts the callback of `call`, if it has one. Never raises: a callback cannot change how a call ended."""
    if not (call.callback_url or sdk.callback_url()):
        return
    try:
        context = sdk.context(call.task_id, on_start_value)
        sdk.send_callback(context, payload, status, call.callback_url)
    except BaseException:
        print("the callback could not be sent:", file=sys.stderr)
        traceback.print_exc()


def post_cancelled(sdk, call, reason: str) -> None:
    """Posts the callback of a cancelled call beside the handler, and returns after a short head start at most."""

    def run() -> None:
        try:
            post(sdk, call, None, {}, _STATUS_OF_REASON.get(reason, "CANCELLED"))
        finally:
            call.cancel_handled.set()

    threading.Thread(target=run, name="metal9-callback", daemon=True).start()
    call.cancel_handled.wait(_HEAD_START)
