"""Makes the SDK accept the names of Apple's GPUs, as soon as it is imported and not before.

The SDK turns every GPU's name into its enum `GpuType`. What the enum does not know it asks its own hook for, which is
the one that Python documents for this, so nothing the SDK has is replaced.
"""

import sys

from . import apple

# The SDK's module with the enum.
_MODULE = "beta9.type"
_ENUM = "GpuType"


class SdkError(ImportError):
    """The beta9 SDK is missing or of a shape that this version of metal9 does not know."""


def sdk():
    """The SDK's package."""
    try:
        import beta9
    except ModuleNotFoundError as error:
        if error.name != "beta9":
            raise
        raise SdkError("metal9 needs the Beta9 SDK, which is not installed; run `pip install beta9`") from error
    return beta9


def prepare():
    """Prepares the SDK, now or when it is imported."""
    module = sys.modules.get(_MODULE)
    if module is not None:
        teach(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def teach(module):
    """Makes `module`, the SDK's, accept the names. Raises SdkError if it does not then; in a container nothing does,
    since jobs must run whatever the SDK thinks of a GPU's name.
    """
    try:
        _extend(module)
        _check(module)
    except SdkError:
        if "metal9.runner" not in sys.modules:
            raise


def _extend(module):
    enum = getattr(module, _ENUM, None)
    if not hasattr(enum, "_value2member_map_") or not issubclass(enum, str):
        raise _unknown("%s.%s is not an enum of texts" % (_MODULE, _ENUM))
    before = enum._missing_
    members = {}

    def missing(cls, value):
        name = apple.canonical(value)
        if name is None:
            return before(value)
        if name not in members:
            # Not one of its members: the SDK lists those where it offers hardware.
            member = str.__new__(cls, name)
            member._name_ = member._value_ = name
            members[name] = member
        return members[name]

    enum._missing_ = classmethod(missing)


def _check(module):
    enum = getattr(module, _ENUM)
    # Newer SDKs put a name into a spelling of theirs first.
    spell = getattr(module, "normalize_gpu_type", str)
    for name in apple.selectors():
        try:
            found = enum(spell(name)).value
        except Exception as error:
            raise _unknown("it refuses %r" % name) from error
        if found != name:
            raise _unknown("it takes %r for %r" % (name, found))


def _unknown(problem):
    return SdkError(
        "metal9 %s cannot teach beta9 %s the names of Apple's GPUs: %s; install another version of either, or use "
        'gpu="any" with the beta9 package alone' % (_version("metal9"), _version("beta9"), problem)
    )


def _version(package):
    if package == "metal9":
        return getattr(sys.modules["metal9"], "__version__", "")
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "(of unknown version)"


class _Finder:
    """Stands before the other finders until the SDK's module is imported, and prepares it then."""

    def find_spec(self, name, path=None, target=None):
        if name != _MODULE:
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    """The module's own loader, and what is to be done after it."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        # As if nobody had come between, for whoever reads the module's source or reloads it.
        module.__loader__ = module.__spec__.loader = self._loader
        try:
            self._loader.exec_module(module)
            teach(module)
        except BaseException:
            # Whoever tries again is to be prepared again, or told again.
            sys.meta_path.insert(0, _Finder())
            raise
