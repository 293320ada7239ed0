"""Everything this package knows about the inside of the beta9 SDK, which is imported and used as installed."""

import os
import sys
import threading
from pathlib import Path

# What the SDK demands at import, before it is known which stub this process will be. CONTAINER_ID also tells it that it
# runs inside a container: calls of function objects are then plain local calls.
_PLACEHOLDERS = {
    "CONTAINER_ID": "metal9-spare",
    "STUB_ID": "metal9-spare",
    "BIND_PORT": "0",
    "HANDLER": ":",
}

# Stands in until the first call brings its own: without any token, older SDKs ask for one on a terminal and exit.
_TOKEN_PLACEHOLDER = "comes-with-the-call"

_NEEDED = (
    "USER_CODE_DIR",
    "Config",
    "FunctionContext",
    "FunctionHandler",
    "config",
    "execute_lifecycle_method",
    "execute_lifecycle_method_async",
    "send_callback",
)

# Imported while a spare waits, since nearly every handler imports them. Nothing in them opens a connection.
WARM_MODULES = (
    "requests",
    "beta9.channel",
    "beta9.abstractions.base.runner",
    "beta9.abstractions.function",
    "beta9.schema",
)


class SdkError(Exception):
    """The SDK in this environment cannot be used by the runner."""


class Sdk:
    """The SDK's runner module, with its state kept in step with this process's environment."""

    def __init__(self) -> None:
        for name, value in _PLACEHOLDERS.items():
            os.environ.setdefault(name, value)
        try:
            import cloudpickle
            from beta9.runner import common
        except ImportError as error:
            raise SdkError(
                "the beta9 package cannot be imported by %s: %s" % (sys.executable, error)
            ) from error
        self.version = _version()
        missing = [name for name in _NEEDED if not hasattr(common, name)]
        if missing or common.config is None:
            what = ", ".join(missing) or "a config object"
            raise SdkError(
                "beta9 %s has no beta9.runner.common.%s, which the runner needs; use another version of beta9"
                % (self.version, what)
            )
        self.common = common
        self.cloudpickle = cloudpickle
        self._callback_thread = threading.local()
        self._quiet_callbacks()

    def configure(self, code_dir: str) -> None:
        """Takes over `os.environ`, as it is now, and the directory of the user's code."""
        os.environ.setdefault("BETA9_TOKEN", _TOKEN_PLACEHOLDER)
        self.common.USER_CODE_DIR = code_dir
        # In place: other SDK modules hold the same object.
        vars(self.common.config).update(vars(self.common.Config.load_from_env()))
        self._refresh_settings()

    def load_handler(self):
        """Imports the handler the environment names. Raises what the import raised."""
        return self._unwrapped(self.common.FunctionHandler)

    def retry_for(self, function) -> tuple:
        """The kinds of errors after which a queue tries again."""
        return tuple(getattr(getattr(function, "parent_abstraction", None), "retry_for", None) or ())

    def run_on_start(self, run_async):
        """Runs the lifecycle function, if there is one, and returns its value."""
        target = self.common.config.on_start
        if not target:
            return None
        module, _, name = target.partition(":")
        import asyncio
        import importlib

        function = getattr(importlib.import_module(module), name)
        if asyncio.iscoroutinefunction(function):
            call = self.common.execute_lifecycle_method_async
            return self._unwrapped(lambda: run_async(call("on_start")))
        return self._unwrapped(lambda: self.common.execute_lifecycle_method("on_start"))

    def begin_call(self, task_id: str, token: str) -> None:
        """Makes the SDK act for this task: its id, and its token in the environment and in channels already open."""
        os.environ["TASK_ID"] = task_id
        self.common.config.task_id = task_id
        if token:
            os.environ["BETA9_TOKEN"] = token
            self._use_token(token)

    def context(self, task_id: str, on_start_value):
        """The object a handler gets as `context`."""
        return self.common.FunctionContext.new(
            config=self.common.config, task_id=task_id, on_start_value=on_start_value
        )

    def is_asgi(self) -> bool:
        """Whether the stub is a web application rather than a function behind HTTP."""
        return (self.common.config.stub_type or "").startswith("asgi")

    def make_app(self, handler):
        """The web application that the handler makes, or is: the SDK makes that of a realtime handler itself."""
        function, context = handler.function, self.context(None, handler.on_start_value)
        own = getattr(getattr(function.handler, "func", None), "internal_asgi_app", None)
        if own is None:
            return handler.begin(context, [], {})
        own.context, own.handler = context, function
        return own

    def send_callback(self, context, payload, status: str, override_url) -> None:
        """Posts a signed callback with the SDK's own helper, which prints its failures; here they go to stderr."""
        from beta9.channel import get_channel
        from beta9.clients.gateway import GatewayServiceStub
        from beta9.config import get_config_context

        self._callback_thread.active = True
        channel = get_channel(get_config_context())
        try:
            self.common.send_callback(
                gateway_stub=GatewayServiceStub(channel),
                context=context,
                payload=payload,
                task_status=status,
                override_callback_url=override_url,
            )
        finally:
            self._callback_thread.active = False
            channel.close()

    def callback_url(self) -> str:
        """Where the stub wants callbacks, or an empty string."""
        return self.common.config.callback_url or ""

    def _unwrapped(self, action):
        # The SDK turns every failure of user code into a RunnerException that holds the real one only as its context.
        from beta9.exceptions import RunnerException

        try:
            return action()
        except RunnerException as wrapper:
            error = wrapper
            while isinstance(error, RunnerException) and (error.__cause__ or error.__context__):
                error = error.__cause__ or error.__context__
            if isinstance(error, RunnerException):
                error = RuntimeError(getattr(error, "message", "") or "the SDK gave no reason")
        finally:
            # The SDK leaves it set when the import fails.
            os.environ.pop("BETA9_IMPORTING_USER_CODE", None)
        raise error

    def _quiet_callbacks(self) -> None:
        here = self._callback_thread

        def routed(*args, **kwargs):
            if getattr(here, "active", False):
                kwargs.setdefault("file", sys.stderr)
            print(*args, **kwargs)

        self.common.print = routed

    def _refresh_settings(self) -> None:
        # A spare may have imported this module before its environment was known, and some defaults are read then.
        module = sys.modules.get("beta9.config")
        if module is None or not hasattr(module, "SDKSettings"):
            return
        fields = getattr(module.SDKSettings, "__dataclass_fields__", {})
        fresh = {
            "api_token": os.getenv("BETA9_TOKEN"),
            "app_url_template": os.getenv("BETA9_APP_URL_TEMPLATE", ""),
            "vm_url_template": os.getenv("BETA9_VM_URL_TEMPLATE", ""),
            "auth_url": os.getenv("BETA9_AUTH_URL", ""),
            "docs_url": os.getenv("BETA9_DOCS_URL", ""),
            "config_path": Path("~/.beta9/config.ini").expanduser(),
        }
        module.set_settings(
            module.SDKSettings(**{name: value for name, value in fresh.items() if name in fields})
        )

    def _use_token(self, token: str) -> None:
        channels = set(getattr(sys.modules.get("beta9.channel"), "_channels", ()))
        # Older SDKs know only the one that decorators share.
        channels.add(getattr(sys.modules.get("beta9.abstractions.base"), "_channel", None))
        for channel in channels:
            interceptor = getattr(channel, "_interceptor", None)
            if hasattr(interceptor, "_token"):
                interceptor._token = token
            context = getattr(channel, "config", None)
            if context is not None:
                context.token = token


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("beta9")
    except PackageNotFoundError:
        return "unknown"
