"""`beta9 serve`, run by a developer in a directory."""

import re
import sys
from pathlib import Path
from typing import Any, List, Mapping, Optional

from .program import App, Contents, Program, write_files
from .served import Served
from .waiting import eventually

ADDRESS = re.compile(r"/(endpoint|asgi|taskqueue)/id/([0-9a-f-]{36})")


class Serving:
    """One `beta9 serve` that runs."""

    def __init__(self, program: Program, directory: Path, served: Served):
        self.program = program
        self.directory = directory
        self.served = served

    @property
    def stub(self) -> str:
        return self.served.stub

    def write(self, name: str, text: str) -> None:
        """What an editor does that saves."""
        write_files(self.directory, {name: text})

    def answers(self, expected: Any, **options: Any) -> Any:
        """Waits until it answers this."""

        def ask() -> Any:
            answer = self.served.post(**options)
            return answer.json() if answer.status_code == 200 else answer.text

        try:
            return eventually(
                ask, lambda seen: seen == expected, what=f"it answers {expected!r}", within=40
            )
        except AssertionError as error:
            state = "runs" if self.program.running else "has ended"
            said = f"{self.program.stdout}{self.program.stderr}"[-3000:]
            raise AssertionError(f"{error}\n`beta9 serve` {state} and said:\n{said}") from None

    def containers(self, api: Any) -> List[Any]:
        """The containers of its stub."""
        from beta9.clients.gateway import ListContainersRequest

        listed = api.gateway.list_containers(ListContainersRequest())
        assert listed.ok, listed.error_msg
        return [it for it in listed.containers if it.stub_id == self.stub]


def start_serving(
    app: App,
    facts: Mapping[str, Any],
    source: str,
    handler: str = "handler",
    files: Optional[Mapping[str, Contents]] = None,
    arguments: Optional[List[str]] = None,
) -> Serving:
    """Runs `beta9 serve app.py:handler` and waits until it serves."""
    directory = app.directory()
    write_files(directory, {"app.py": source, **(files or {})})
    command = [sys.executable, "-m", "beta9", "serve", f"app.py:{handler}", *(arguments or [])]
    program = app.launch(command, directory)
    found = eventually(
        lambda: (ADDRESS.search(program.stdout), program.running, program.stdout, program.stderr),
        lambda seen: seen[0] or not seen[1],
        what="it shows its address",
        within=60,
    )
    assert found[0], f"it ended: {found}"
    served = Served(facts["http"], facts["token"], found[0][1], found[0][2])
    program.wait_for("Watching")
    return Serving(program, directory, served)
