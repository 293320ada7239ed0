"""One call: its state, its arguments, its result."""

import json
import os
import sys
import threading

# Bytes; what is left of a 16 MiB gRPC message after generous room for the fields around it.
MAX_RESULT = 16 * 1024 * 1024 - 64 * 1024

QUEUED, RUNNING, ENDING, CANCELLED = "queued", "running", "ending", "cancelled"


class CallError(Exception):
    """A call that failed; `kind` is the protocol's word for it, the text is one line."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Call:
    """A call on its way: queued → running → ending, or cancelled from queued or running.

    Shared by two threads: the reader creates and cancels it, the main thread does the rest.
    """

    def __init__(self, message) -> None:
        self.id = _field(message, "id", int)
        self.task_id = _field(message, "task_id", str)
        self.token = message.get("token") or ""
        self.payload = _field(message, "args", bytes)
        self.callback_url = None
        # Set once whatever a cancel has to do besides stopping the handler is done.
        self.cancel_handled = threading.Event()
        self._state = QUEUED
        self._lock = threading.Lock()

    def start(self) -> bool:
        """Queued → running. False if it was cancelled before."""
        return self._move((QUEUED,), RUNNING)

    def end(self) -> bool:
        """Running → ending, after which a cancel comes too late. False if it was cancelled."""
        return self._move((RUNNING,), ENDING)

    def cancel(self):
        """Cancels it and returns the state it was in."""
        with self._lock:
            before = self._state
            if before in (QUEUED, RUNNING):
                self._state = CANCELLED
            return before

    def _move(self, sources, target) -> bool:
        with self._lock:
            if self._state not in sources:
                return False
            self._state = target
            return True

    def arguments(self, sdk):
        """Decodes the payload into (args, kwargs): cloudpickle first, JSON second, like the SDK."""
        payload, self.payload = self.payload, None
        try:
            value = sdk.cloudpickle.loads(payload)
        except Exception as error:
            value = _from_json(payload, error)
        if not isinstance(value, dict):
            raise CallError(
                "bad_arguments",
                'the arguments must be a map with "args" and "kwargs", not %s' % type(value).__name__,
            )
        args, kwargs = value.get("args") or [], value.get("kwargs") or {}
        if not isinstance(args, (list, tuple)) or not isinstance(kwargs, dict):
            raise CallError(
                "bad_arguments",
                '"args" must be a list and "kwargs" a map, not %s and %s'
                % (type(args).__name__, type(kwargs).__name__),
            )
        kwargs = dict(kwargs)
        self.callback_url = kwargs.pop("callback_url", None)
        return args, kwargs


def _field(message, name: str, kind):
    if not isinstance(message[name], kind):
        raise TypeError(repr(name))
    return message[name]


def _from_json(payload: bytes, pickle_error: Exception):
    try:
        return json.loads(payload.decode("utf-8"))
    except ValueError:
        from .errors import describe

        # The usual reason is a class or package of the caller that this environment lacks, so that error is the news.
        raise CallError(
            "bad_arguments", "the arguments could not be read: %s" % describe(pickle_error)
        ) from pickle_error


def encode_result(sdk, handler_name: str, value, as_json: bool = False) -> bytes:
    """A handler's value as cloudpickle, or as JSON. Raises CallError if it cannot be written so or is too big to be sent."""
    try:
        data = _to_json(handler_name, value) if as_json else sdk.cloudpickle.dumps(value)
    except Exception as error:
        from .errors import describe

        raise CallError(
            "exception",
            "%s; the value returned by %s, of type %s, cannot be pickled; return plain data instead"
            % (describe(error), handler_name, _type_name(value)),
        ) from error
    if len(data) > MAX_RESULT:
        raise CallError(
            "result_too_large",
            "the result of %s is %s and the limit is %s; write it to a volume and return its path, or return less"
            % (handler_name, _mebibytes(len(data)), _mebibytes(MAX_RESULT)),
        )
    return data


def _to_json(handler_name: str, value) -> bytes:
    try:
        return json.dumps(value).encode("utf-8")
    except (TypeError, ValueError) as error:
        # The work is done and must not be done again for want of a result, so this is no failure.
        print(
            "the value returned by %s, of type %s, is no JSON (%s): the task has no result"
            % (handler_name, _type_name(value), error),
            file=sys.stderr,
        )
        return b"null"


def _type_name(value) -> str:
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return "%s.%s" % (kind.__module__, kind.__qualname__)


def _mebibytes(count: int) -> str:
    return "%.2f MiB (%d bytes)" % (count / (1 << 20), count)


def restore_directory(path: str) -> None:
    """Undoes a change of directory; a call may even have removed the directory it was in."""
    try:
        os.chdir(path)
    except OSError:
        pass
