# What editors and type checkers see: the SDK's own types, but that `gpu` takes the names of Apple's GPUs too.
from typing import Any, List, Union

from beta9.abstractions.base.container import Container as Container
from beta9.abstractions.endpoint import ASGI as _ASGI
from beta9.abstractions.endpoint import Endpoint as _Endpoint
from beta9.abstractions.endpoint import RealtimeASGI as _RealtimeASGI
from beta9.abstractions.function import Function as _Function
from beta9.abstractions.function import Schedule as _Schedule
from beta9.abstractions.image import Image as Image
from beta9.abstractions.map import Map as Map
from beta9.abstractions.output import Output as Output
from beta9.abstractions.pod import Pod as _Pod
from beta9.abstractions.queue import SimpleQueue as Queue
from beta9.abstractions.sandbox import Sandbox as _Sandbox
from beta9.abstractions.taskqueue import TaskQueue as _TaskQueue
from beta9.abstractions.volume import CloudBucket as CloudBucket
from beta9.abstractions.volume import CloudBucketConfig as CloudBucketConfig
from beta9.abstractions.volume import Volume as Volume
from beta9.type import GpuType as GpuType
from beta9.type import PythonVersion as PythonVersion
from beta9.type import QueueDepthAutoscaler as QueueDepthAutoscaler
from beta9.type import TaskPolicy as TaskPolicy

from . import apple as apple
from .apple import AppleGpu

__version__: str

Gpu = Union[AppleGpu, GpuType, str, List[str]]
"""One GPU's name, or several in order of preference."""

class function(_Function):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class schedule(_Schedule):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class endpoint(_Endpoint):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class asgi(_ASGI):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class realtime(_RealtimeASGI):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class task_queue(_TaskQueue):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class Pod(_Pod):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

class Sandbox(_Sandbox):
    def __init__(self, *arguments: Any, gpu: Gpu = ..., gpu_count: int = ..., **options: Any) -> None: ...

# All else that the installed SDK exports.
def __getattr__(name: str) -> Any: ...
