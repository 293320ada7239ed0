"""Turns a spare into one stub: environment, code directory, handler, on_start."""

import asyncio
import importlib
import os
import sys

from . import gpu_memory

# Field of the load message -> the variable the SDK reads it from.
_VARIABLES = (
    ("container_id", "CONTAINER_ID"),
    ("stub_id", "STUB_ID"),
    ("stub_type", "STUB_TYPE"),
    ("handler", "HANDLER"),
    ("on_start", "ON_START"),
    ("callback_url", "CALLBACK_URL"),
    ("python_version", "PYTHON_VERSION"),
    ("timeout", "TIMEOUT"),
    ("keep_warm", "KEEP_WARM_SECONDS"),
    ("inputs", "BETA9_INPUTS"),
    ("outputs", "BETA9_OUTPUTS"),
)


class LoadError(Exception):
    """The load message cannot be carried out; the text says what to change."""


class AppError(Exception):
    """The handler gives no application to serve; the text says why."""


class Handler:
    """A loaded handler, with what outlives a call: the value of on_start and the event loop."""

    def __init__(self, sdk, name: str, code_dir: str) -> None:
        self.name = name
        self.code_dir = code_dir
        self.on_start_value = None
        self._sdk = sdk
        self._loop = None
        self._function = sdk.load_handler()
        # Whoever puts a call into a queue may have no Python to read a pickle with.
        self.speaks_json = os.environ.get("STUB_TYPE", "").partition("/")[0] == "taskqueue"
        self._retry_for = sdk.retry_for(self._function) if self.speaks_json else ()
        self.on_start_value = sdk.run_on_start(self.run)

    def call(self, context, args, kwargs):
        """Runs the user's function through the SDK's handler and returns its value."""
        if self._function.is_async:
            return self.run(self._function.__acall__(context, *args, **kwargs))
        return self._function(context, *args, **kwargs)

    def wants_retry(self, error: BaseException) -> bool:
        """Whether the queue's `retry_for` names exactly this kind of error."""
        return type(error) in self._retry_for

    def begin(self, context, args, kwargs):
        """Calls the user's function where the loop runs already: its value, or what is to be awaited for it."""
        if self._function.is_async:
            return self._function.__acall__(context, *args, **kwargs)
        return self._function(context, *args, **kwargs)

    @property
    def function(self):
        """The SDK's handler."""
        return self._function

    def run(self, coroutine):
        """Runs `coroutine` on the loop that lives as long as the process, so clients kept between calls stay usable."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            # Interrupted from outside the task (a cancel, sys.exit in a callback): its `finally` blocks come next.
            if not task.done():
                task.cancel()
                self._drain([task])
            if not task.cancelled():
                task.exception()  # marks it as seen; asyncio would report it a second time
            raise

    def close(self) -> None:
        """Cancels what async code left running and closes the loop."""
        if self._loop is None or self._loop.is_closed():
            return
        try:
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._drain(pending)
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
        except BaseException:
            pass

    def _drain(self, tasks) -> None:
        if tasks and not self._loop.is_running():
            self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))


def load(sdk, message) -> Handler:
    """Carries out a load message. Raises LoadError, or whatever the user's code raised while it was imported."""
    code_dir = os.path.abspath(message["code_dir"])
    if not os.path.isdir(code_dir):
        raise LoadError("the code directory %s does not exist" % code_dir)
    _check_name("handler", message["handler"])
    if message.get("on_start"):
        _check_name("on_start", message["on_start"])

    os.environ.update(message.get("env") or {})
    for field, variable in _VARIABLES:
        value = message.get(field)
        if value not in (None, ""):
            os.environ[variable] = str(value)
    gpu_memory.limit_mlx()

    os.chdir(code_dir)
    sys.path.insert(0, code_dir)
    # The directory may be younger than what the import system remembers.
    importlib.invalidate_caches()
    try:
        sdk.configure(code_dir)
    except ValueError as error:
        raise LoadError("the stub's settings cannot be read: %s" % error) from error
    return Handler(sdk, message["handler"], code_dir)


def explain_missing(error: BaseException, message) -> str:
    """A hint for a handler that was not found because a module of the same name was found first, or an empty string."""
    if not isinstance(error, AttributeError):
        return ""
    name = message["handler"].partition(":")[0].split(".")[0]
    found = getattr(sys.modules.get(name), "__file__", None) or ""
    own = os.path.join(os.path.abspath(message["code_dir"]), name)
    if not (os.path.isfile(own + ".py") or os.path.isdir(own)) or found.startswith(own):
        return ""
    return " (the name %s already belongs to another Python module, %s; rename your file)" % (
        name,
        found or "built in",
    )


def _check_name(what: str, name: str) -> None:
    module, colon, function = name.partition(":")
    if not (module and colon and function) or ":" in function:
        raise LoadError('the %s must look like "module:function", not "%s"' % (what, name))
