"""How failures are shown: a traceback on stderr for the user, one line of text for the API."""

import asyncio
import os
import sys
import traceback

_MAX_TEXT = 2000


def describe(error: BaseException) -> str:
    """One line like `ValueError: bad input`. Works for exceptions whose own `str` fails."""
    kind = type(error)
    name = kind.__qualname__
    if kind.__module__ not in ("builtins", "__main__", None):
        name = "%s.%s" % (kind.__module__, name)
    try:
        text = str(error)
    except BaseException:
        text = "<its text could not be made>"
    return one_line("%s: %s" % (name, text) if text else name)


def one_line(text: str) -> str:
    """`text` on one line, cut to a length that is fit for a status field, and valid UTF-8."""
    text = " ".join(text.split())
    if len(text) > _MAX_TEXT:
        text = text[: _MAX_TEXT - 1] + "…"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def show(error: BaseException, internal, keep_if_all_internal: bool = True) -> None:
    """Prints the traceback of `error` through `sys.excepthook`, without leading frames of files under `internal`."""
    trimmed = _skip_leading(error.__traceback__, internal)
    if trimmed is not None or not keep_if_all_internal:
        error.__traceback__ = trimmed
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        traceback.print_exception(type(error), error, error.__traceback__)


def internal_directories(*modules):
    """Directories whose frames are plumbing: this package, those of `modules`, and what sits between them."""
    import importlib

    own = [os.path.dirname(os.path.abspath(__file__))]
    for module in (importlib, asyncio) + modules:
        path = getattr(module, "__file__", None)
        if path:
            own.append(os.path.dirname(os.path.abspath(path)))
    return tuple(directory + os.sep for directory in own)


def _skip_leading(tb, internal):
    while tb is not None:
        name = tb.tb_frame.f_code.co_filename
        if not name.startswith("<frozen importlib") and not name.startswith(internal):
            break
        tb = tb.tb_next
    return tb
