"""A runner that answers HTTP requests instead of calls.

The application is served by uvicorn, which the SDK installs, on a Unix socket in the container's directory. The worker
connects to it and carries the bytes; it never looks at them.

    server.py   uvicorn in this process, between the worker's messages
    endpoint.py the application of an `@endpoint`
    guard.py    what surrounds every application: health, clients that leave
    family.py   several processes, or one that is started again when the code changes
"""
