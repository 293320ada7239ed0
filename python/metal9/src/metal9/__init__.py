"""metal9 for Python. `metal9.runner` is the process inside a container."""

__version__ = "0.1.0"
