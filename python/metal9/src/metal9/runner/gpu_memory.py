"""Holds MLX to the job's memory, which it takes no variable for.

PyTorch reads its limits from variables that the worker sets. MLX has functions only, so they are called as soon as it
is imported, before the importing module goes on. It is never imported from here.

Other programs of the job do the same if they are Pythons that read PYTHONPATH: see `startup/sitecustomize.py`, which
loads this file by itself.
"""

import os
import sys

# Mebibytes that a job with an Apple GPU may use; set by the worker.
VARIABLE = "METAL9_GPU_MEMORY_MIB"

_MODULE = "mlx.core"
_STARTUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")
_MIB = 1024 * 1024


def limit_mlx() -> None:
    """Limits MLX to what the environment says, now or when it is imported, here and in the Pythons started from here."""
    limit = _limit()
    if limit is None:
        return
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != _STARTUP]
    os.environ["PYTHONPATH"] = os.pathsep.join([_STARTUP] + paths)
    module = sys.modules.get(_MODULE)
    if module is not None:
        _apply(module, limit)
    elif not any(_is_ours(finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(limit))


def _limit():
    """The limit in bytes, or None."""
    text = os.environ.get(VARIABLE, "")
    return int(text) * _MIB if text.isdecimal() and int(text) > 0 else None


def _is_ours(finder) -> bool:
    # This file may be loaded twice, as two modules: classes would not be the same.
    return getattr(finder, "limits_mlx", False) is True


class _Finder:
    """Finds `mlx.core` as the others do, and limits it once it has been executed."""

    limits_mlx = True

    def __init__(self, limit: int) -> None:
        self._limit = limit

    def find_spec(self, name, path=None, target=None):
        if name != _MODULE:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if find is None or _is_ours(finder):
                continue
            spec = find(name, path, target)
            if spec is not None:
                _execute_then(spec, lambda module: _apply(module, self._limit))
                return spec
        return None


def _execute_then(spec, action) -> None:
    """Has `action` called with the module of `spec` after it has been executed."""
    execute = getattr(spec.loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module):
        execute(module)
        action(module)

    spec.loader.exec_module = exec_module


def _apply(module, limit: int) -> None:
    # The cache is what MLX keeps of freed memory; it alone would hold on to more than the job may use.
    for name in ("set_memory_limit", "set_cache_limit"):
        setter = getattr(module, name, None) or getattr(getattr(module, "metal", None), name, None)
        try:
            setter(limit)
        except Exception as error:
            # The job is still ended if it uses too much.
            print("metal9 runner: MLX takes no limit by %s: %r" % (name, error), file=sys.stderr)
