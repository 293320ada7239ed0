"""The process inside a container.

A worker starts it with one end of a socket pair. It imports the SDK, says `ready`, and is then a spare that can become
any stub: `load` turns it into one, and each `call` after that runs the handler once, on the main thread.

    spare ──load──▶ loaded ──call──▶ running ──result/error──▶ loaded ──▶ …
                                        └──cancel──▶ exit

A second thread does nothing but read the socket, so that a cancel is seen while user code is busy.
How handlers are found, called and validated is the SDK's business; `sdk.py` is the only file that knows its insides.
"""
