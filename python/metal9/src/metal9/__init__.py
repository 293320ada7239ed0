"""The Beta9 SDK with the names of Apple's GPUs: ``from metal9 import function, endpoint, Image``.

Everything the SDK exports can be had from here, and ``import metal9`` before ``from beta9 import …`` makes the same
names valid there. Neither imports the SDK before something of it is used. `metal9.apple` says which names there are;
`metal9.runner` is the process inside a container.
"""

from . import _names

__version__ = "0.1.0"

_names.prepare()


def __getattr__(name):
    if name == "apple":
        from . import apple

        return apple
    # What Python and its tools look for in any module is not the SDK's.
    if name.startswith("__") and name != "__all__":
        raise AttributeError("module %r has no attribute %r" % (__name__, name))
    value = getattr(_names.sdk(), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), "apple", *_names.sdk().__all__})
