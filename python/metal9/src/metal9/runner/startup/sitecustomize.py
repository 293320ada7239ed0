"""What every Python that a job with an Apple GPU starts does first: it holds MLX to the job's memory.

Python imports this by its name at its start, as the directory comes first in PYTHONPATH. A `sitecustomize` that is
somebody else's is hidden by that, so it is run from here.
"""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _run(spec) -> None:
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)


def _limit_mlx() -> None:
    path = os.path.join(os.path.dirname(_HERE), "gpu_memory.py")
    spec = importlib.util.spec_from_file_location("metal9_gpu_memory", path)
    _run(spec)
    sys.modules.pop(spec.name).limit_mlx()


_limit_mlx()
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
_other = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if _other is not None:
    _run(_other)
