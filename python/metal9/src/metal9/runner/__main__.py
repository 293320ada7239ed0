"""Entry point, both as `python .../metal9/runner/__main__.py` and as `python -m metal9.runner`."""

import sys


def _run():
    # Python put the runner's own directory (script) or the current directory (-m) first; there any file could shadow a
    # module of the standard library, so it goes before anything is imported.
    if sys.path and not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
        del sys.path[0]

    import os

    parent = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    while parent in sys.path:
        sys.path.remove(parent)
    sys.path.insert(0, parent)
    if os.getpid() == 1:
        from metal9.runner.first import fork

        # Before anything else is there to be forked.
        fork()
    from metal9.runner.start import main

    # Last from here on, so that what the user's environment installs wins over this directory. An image with a Python
    # of its own gets the SDK from elsewhere.
    sys.path.remove(parent)
    sys.path.extend(filter(None, [os.environ.get("METAL9_PACKAGES"), parent]))
    main()


# Guarded: multiprocessing's spawned children import this file again under another name.
if __name__ == "__main__":
    _run()
elif __name__ == "__mp_main__":
    from metal9.runner.gpu_memory import limit_mlx

    limit_mlx()
