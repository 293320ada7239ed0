"""The SDK's own command line, for files that name Apple's GPUs: `metal9-beta9 deploy app.py:train`.

A file that says `import metal9` or `from metal9 import …` needs none of this: `beta9 deploy` works for it too.
"""

import sys

from ._names import SdkError, sdk


def main():
    """Runs the SDK's command line with this process's arguments."""
    try:
        sdk()
        from beta9.cli.main import start
    except SdkError as error:
        sys.exit("error: %s" % error)
    except ImportError as error:
        sys.exit("error: the beta9 package has no command line that metal9 knows (%s)" % error)
    start()
