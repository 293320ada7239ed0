"""Users' programs: written to a directory and run as `python app.py`."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from .gate import Gate
from .waiting import eventually

Contents = Union[str, bytes]


def client_environment(config: Path, home: Path) -> Dict[str, str]:
    """The environment of a user who has installed the SDK and been given `config`."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("BETA9_", "METAL9_", "PYTHON", "GRPC_"))
    }
    env.update(
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        HOME=str(home),
        CONFIG_PATH=str(config),
        CI="1",
        BETA9_NO_INPUT="1",
        GRPC_ENABLE_FORK_SUPPORT="0",
        # Wide enough that the SDK's console breaks no message into lines.
        COLUMNS="1000",
    )
    return env


class Finished:
    """A program that has ended."""

    def __init__(self, code: int, stdout: str, stderr: str, directory: Path):
        self.code = code
        self.stdout = stdout
        self.stderr = stderr
        self.directory = directory

    def __repr__(self) -> str:
        return (
            f"exit code {self.code} in {self.directory}\n"
            f"--- stdout\n{self.stdout[-8000:]}\n--- stderr\n{self.stderr[-8000:]}"
        )

    @property
    def json(self) -> Any:
        """What a program that succeeded printed as its last line of JSON."""
        assert self.code == 0, f"the program failed: {self!r}"
        for line in reversed(self.stdout.splitlines()):
            if line.startswith(("{", "[", '"')):
                return json.loads(line)
        raise AssertionError(f"the program printed no line of JSON: {self!r}")


class Program:
    """A program that runs."""

    def __init__(self, command: List[str], directory: Path, env: Dict[str, str], home: Path):
        self.directory = directory
        self._stdout = home / "stdout"
        self._stderr = home / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                process_group=0,
            )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, text: str, within: float = 40.0) -> str:
        """Waits until the program has shown `text` on stdout; returns stdout up to now."""

        def look() -> Dict[str, Any]:
            running = self.running
            return {"stdout": self.stdout, "stderr": self.stderr, "running": running}

        seen = eventually(
            look,
            lambda seen: text in seen["stdout"] or not seen["running"],
            what=f"the program shows {text!r}",
            within=within,
        )
        assert text in seen["stdout"], f"the program ended and never showed {text!r}: {seen}"
        return seen["stdout"]

    def line(self, start: str, within: float = 40.0) -> str:
        """Waits for a whole line that starts with `start`; returns the rest of that line."""
        self.wait_for(start, within)
        rest = eventually(
            lambda: self.stdout.partition(start)[2],
            lambda rest: "\n" in rest,
            what=f"the end of the line that starts with {start!r}",
        )
        return rest.partition("\n")[0].strip()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends it without a chance to say anything to the gateway."""
        self.process.kill()
        self.process.wait()

    def finish(self, within: float = 60.0) -> Finished:
        """Waits until it ends."""
        try:
            code = self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the program did not end within {within:g} s: "
                f"{Finished(-9, self.stdout, self.stderr, self.directory)!r}"
            ) from None
        return Finished(code, self.stdout, self.stderr, self.directory)


class App:
    """Writes and runs programs against one gateway."""

    def __init__(self, root: Path, config: Path):
        self.root = root
        self.config = config
        self.programs: List[Program] = []
        self.gates: List[Gate] = []

    def __call__(self, source: str, within: float = 60.0, **options: Any) -> Finished:
        """Runs a program to its end."""
        return self.start(source, **options).finish(within)

    def directory(self) -> Path:
        """A new directory whose parent is the program's alone, too."""
        number = len(list(self.root.iterdir()))
        directory = self.root / f"{number:03}" / "project"
        directory.mkdir(parents=True)
        return directory

    def start(
        self,
        source: str,
        *,
        files: Optional[Mapping[str, Contents]] = None,
        arguments: Optional[List[Any]] = None,
        env: Optional[Mapping[str, str]] = None,
        config: Optional[Path] = None,
        directory: Optional[Path] = None,
    ) -> Program:
        """Starts a program."""
        directory = directory or self.directory()
        write_files(directory, {"app.py": source, **(files or {})})
        return self.launch(
            [sys.executable, "app.py", *map(str, arguments or [])], directory, env, config
        )

    def launch(
        self,
        command: List[str],
        directory: Path,
        env: Optional[Mapping[str, str]] = None,
        config: Optional[Path] = None,
    ) -> Program:
        """Starts a command in a directory as a user of the SDK."""
        home = directory.parent
        environment = client_environment(config or self.config, home)
        environment.update(env or {})
        program = Program(command, directory, environment, home)
        self.programs.append(program)
        return program

    def gate(self) -> Gate:
        """A new gate."""
        gate = Gate(self.root / f"gate-{len(self.gates)}")
        self.gates.append(gate)
        return gate

    def close(self) -> None:
        """Ends what a failed test has left running."""
        for gate in self.gates:
            gate.try_open()
        for program in self.programs:
            if program.running:
                program.kill()


def write_files(directory: Path, files: Mapping[str, Contents]) -> None:
    """Writes files; texts lose the indentation they have in the test."""
    for name, contents in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(contents, bytes):
            path.write_bytes(contents)
        else:
            path.write_text(textwrap.dedent(contents).lstrip("\n"))
