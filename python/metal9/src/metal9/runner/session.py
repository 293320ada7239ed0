"""The runner's conversation with its worker.

Two threads. The reader takes frames off the socket: it queues load, call and shutdown, and acts on a cancel itself.
The main thread takes from the queue and runs user code; only it sends frames, and never while SIGTERM may raise.
"""

import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback

from . import callback, calls, errors, gpu_faults, handler, process
from .frames import FrameError
from .handler import AppError
from .late import Late

# Seconds a handler has to unwind when the worker is gone or asks for shutdown.
_SHUTDOWN_SECONDS = 2.0
# Seconds to wait at exit for the callback of a cancelled call; the worker kills earlier.
_CALLBACK_SECONDS = 10.0

_END = {"type": "end"}


class Session:
    """One worker's use of this process."""

    def __init__(self, connection, sdk, output, interrupts, strays) -> None:
        self._connection = connection
        self._sdk = sdk
        self._output = output
        self._interrupts = interrupts
        self._strays = strays
        self._late = Late()
        self._inbox = queue.SimpleQueue()
        self._handler = None
        self._call = None
        self._busy = False
        # True once requests are served instead of calls.
        self._serving = False
        # What `_end` decided; None while the worker is there.
        self._exit_code = None
        self._pid = os.getpid()
        self._internal = errors.internal_directories(
            sys.modules["beta9"], sdk.common, sdk.cloudpickle
        )
        # Or the worker would not see this process end while a child of user code lives.
        os.register_at_fork(after_in_child=connection.close)

    def start(self) -> None:
        """Starts the reader."""
        threading.Thread(target=self._read, name="metal9-reader", daemon=True).start()

    def waiting(self) -> bool:
        """Whether the worker has asked for something."""
        return not self._inbox.empty()

    def send(self, message) -> None:
        """Sends a frame; ends the process if there is nobody to send to."""
        self._leave_if_child(0)
        try:
            self._connection.send(message)
        except (OSError, FrameError) as error:
            print("metal9 runner: a message could not be sent: %s" % error, file=sys.stderr)
            self._leave(process.EXIT_PROTOCOL)

    def serve(self) -> None:
        """Serves the worker until it hangs up. Does not return."""
        while True:
            try:
                with self._interrupts.allow():
                    message = self._inbox.get()
            except SystemExit:
                self._leave(self._stop_code())
            kind = message["type"]
            self._busy = True
            if kind == "load" and message.get("processes"):
                self._serve_requests(message)
            elif kind == "load":
                self._load(message)
            elif kind == "call":
                self._serve_call(message["call"])
            else:
                self._leave(self._stop_code())
            self._busy = False

    def next_message(self):
        """The worker's next message, for who serves requests."""
        return self._inbox.get()

    def post(self, message) -> None:
        """Says something to the main thread, as if the worker did."""
        self._inbox.put(message)

    def exit_code(self) -> int:
        """What to leave with."""
        return self._stop_code()

    def leave(self, code: int) -> None:
        """Ends this process."""
        self._leave(code)

    # ── main thread ──

    def _serve_requests(self, message) -> None:
        """Serves requests until this process is to end; returns only if that cannot begin."""
        from .serving import family, server

        develops = message.get("stub_type", "").endswith("/serve")
        several = message["processes"] > 1 or develops
        if develops:
            # A file that is saved twice within a second looks unchanged to what is kept of its bytecode.
            sys.dont_write_bytecode = True
        if several and not message.get("member"):
            self._become_server()
            self._load_failed(family.Family(self, message).serve())
            return
        started = time.perf_counter()

        def micros() -> int:
            return int((time.perf_counter() - started) * 1e6)

        made, watch = [], gpu_faults.Watch()

        def make() -> None:
            fd = message.get("listen_fd")
            sock = server.listen(0, message["code_dir"]) if fd is None else socket.socket(fileno=fd)
            self._handler = handler.load(self._sdk, message)
            made.append((sock, server.application(self._sdk, self._handler, watch)))

        if not self._loading(make, message):
            return
        self._become_server()
        [(sock, app)] = made
        self._output.flush()
        self._load_failed(server.serve(self, self._sdk, self._handler, app, sock, micros, watch))

    def _become_server(self) -> None:
        self._serving, self._busy = True, False

    def _load(self, message) -> None:
        started = time.perf_counter()
        if self._handler is not None:
            self.send({"type": "load_failed", "text": "this process already has a handler"})
            return

        def make() -> None:
            self._late = Late(message.get("settle"))
            self._handler = handler.load(self._sdk, message)

        if self._loading(make, message):
            self._output.flush()
            self._strays.mark()
            micros = int((time.perf_counter() - started) * 1e6)
            self.send({"type": "loaded", "micros": micros})

    def _loading(self, make, message) -> bool:
        """Runs the user's code as it is imported; tells the worker if it fails."""
        try:
            with self._interrupts.allow():
                make()
        except (handler.LoadError, AppError) as error:
            print(error, file=sys.stderr)
            self._load_failed(str(error))
        except BaseException as error:
            self._leave_if_stopped(None)
            missing = isinstance(error, (ImportError, AttributeError))
            errors.show(error, self._internal, keep_if_all_internal=not missing)
            self._load_failed(errors.describe(error) + handler.explain_missing(error, message))
        else:
            self._leave_if_stopped(None)
            return True
        return False

    def _load_failed(self, text: str) -> None:
        self._output.flush()
        self.send({"type": "load_failed", "text": errors.one_line(text)})

    def _serve_call(self, call) -> None:
        if not call.start():
            self._leave_cancelled(call)
        streams = self._output.snapshot()
        on_term = signal.getsignal(signal.SIGTERM)
        try:
            value, data = self._run(call)
            self._leave_if_child(0)
            self._late.write()
            self._restore(streams, on_term)
            payload, status = value, "COMPLETE"
            reply = {"type": "result", "id": call.id, "data": data}
        except BaseException as error:
            self._leave_if_stopped(call)
            payload, status = {"error": str_of(error)}, "ERROR"
            if os.getpid() != self._pid and isinstance(error, SystemExit):
                self._leave_if_child(error.code)
            # First, or the traceback would go wherever the handler has left sys.stderr pointing.
            self._restore(streams, on_term)
            reply = self._failure(call, error)
            if gpu_faults.is_fatal(error):
                print(gpu_faults.NOTE, file=sys.stderr)
                reply.update(text="%s (%s)" % (reply["text"], gpu_faults.NOTE), spent=True)
            self._leave_if_child(1)
            self._late.try_to_write()
        if not call.end():
            self._leave_cancelled(call)
        on_start_value = self._handler.on_start_value if self._handler else None
        callback.post(self._sdk, call, on_start_value, payload, status)
        self._strays.end()
        self._output.flush()
        self.send(reply)
        if reply.get("spent"):
            self._leave(process.EXIT_GPU_FAULT)

    def _run(self, call):
        if self._handler is None:
            raise calls.CallError("exception", "no handler is loaded in this process")
        self._sdk.begin_call(call.task_id, call.token)
        with self._interrupts.allow():
            args, kwargs = call.arguments(self._sdk)
        context = self._sdk.context(call.task_id, self._handler.on_start_value)
        self.send({"type": "started", "id": call.id})
        with self._interrupts.allow():
            value = self._handler.call(context, args, kwargs)
            as_json = self._handler.speaks_json
            return value, calls.encode_result(self._sdk, self._handler.name, value, as_json)

    def _failure(self, call, error):
        if isinstance(error, calls.CallError):
            if error.__cause__ is not None:
                errors.show(error.__cause__, self._internal)
            print(error, file=sys.stderr)
            return {"type": "error", "id": call.id, "kind": error.kind, "text": errors.one_line(str(error))}
        errors.show(error, self._internal)
        text = errors.describe(error)
        wants_retry = self._handler is not None and self._handler.wants_retry(error)
        kind = "retry_for" if wants_retry else "exception"
        return {"type": "error", "id": call.id, "kind": kind, "text": text}

    def _restore(self, streams, on_term) -> None:
        self._output.restore(streams)
        if self._handler is not None:
            calls.restore_directory(self._handler.code_dir)
        if signal.getsignal(signal.SIGTERM) is not on_term and on_term is not None:
            signal.signal(signal.SIGTERM, on_term)

    def _leave_if_stopped(self, call) -> None:
        if not self._interrupts.requested:
            return
        if call is not None and not call.end():
            self._leave_cancelled(call)
        self._leave(self._stop_code())

    def _stop_code(self) -> int:
        return process.EXIT_TERMINATED if self._exit_code is None else self._exit_code

    def _leave_if_child(self, code) -> None:
        """Ends a child that user code forked and that left the handler: it must not answer for its parent."""
        if os.getpid() == self._pid:
            return
        self._output.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))

    def _leave_cancelled(self, call) -> None:
        call.cancel_handled.wait(_CALLBACK_SECONDS)
        self._leave(process.EXIT_CANCELLED)

    def _leave(self, code: int) -> None:
        if self._handler is not None:
            self._handler.close()
        process.leave(code, self._output.flush)

    # ── reader thread ──

    def _read(self) -> None:
        try:
            self._read_frames()
        except FrameError as error:
            print("metal9 runner: %s" % error, file=sys.stderr)
            self._end(process.EXIT_PROTOCOL)
        except OSError:
            self._end(0)
        except BaseException:
            traceback.print_exc()
            self._end(process.EXIT_PROTOCOL)
        else:
            self._end(0)

    def _read_frames(self) -> None:
        while True:
            message = self._connection.receive()
            if message is None or message["type"] == "shutdown":
                return
            kind = message["type"]
            try:
                self._accept(kind, message)
            except (KeyError, TypeError) as error:
                raise FrameError('a "%s" frame has no usable %s' % (kind, error)) from error

    def _accept(self, kind: str, message) -> None:
        if kind == "load":
            for name in ("handler", "code_dir"):
                if not isinstance(message[name], str):
                    raise TypeError(repr(name))
            self._inbox.put(message)
        elif kind == "reload":
            self._inbox.put(message)
        elif kind == "call":
            self._call = calls.Call(message)
            self._inbox.put({"type": "call", "call": self._call})
        elif kind == "cancel":
            self._cancel(message["id"], message.get("reason") or "cancelled")
        else:
            print("metal9 runner: ignored an unknown frame %r" % kind, file=sys.stderr)

    def _cancel(self, call_id, reason: str) -> None:
        call = self._call
        if call is None or call.id != call_id:
            return
        before = call.cancel()
        if before not in (calls.QUEUED, calls.RUNNING):
            return
        if self._serving:
            self._end(process.EXIT_CANCELLED)
            return
        callback.post_cancelled(self._sdk, call, reason)
        if before == calls.RUNNING:
            self._interrupts.raise_in_main_thread()

    def _end(self, code: int) -> None:
        """The worker is gone or wants this process gone: the main thread leaves by itself, or is made to."""
        self._exit_code = code
        process.after(_SHUTDOWN_SECONDS, lambda: os._exit(code))
        busy = self._busy
        self._inbox.put(_END)
        if busy:
            self._interrupts.raise_in_main_thread()


def str_of(error: BaseException) -> str:
    """`str(error)`, the way the SDK reports a failure in a callback, or its type if that fails."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__
