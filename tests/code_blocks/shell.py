"""Bash as a person's, but the programs that it finds are functions of this process.

Whatever bash does (variables, loops, pipes, `cd`, continued lines) it does itself. For each program
a small script stands on its path, which sends its arguments here and waits for what to print.
"""

import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Client, Listener
from pathlib import Path
from threading import Thread

PATIENCE = 300  # seconds, before a block is taken to wait for ever

# Run as they are; whatever else a page calls has to be a program that is known.
HARMLESS = ("cat", "cp", "head", "ls", "mkdir", "mv", "rm", "sort", "touch", "wc")
ASK = f"""#!{sys.executable} -IS
import os, sys
from multiprocessing.connection import Client

with Client(os.environ["CODE_BLOCKS"]) as asked:
    asked.send((os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)))
    status, output, error = asked.recv()
sys.stdout.write(output)
sys.stderr.write(error)
sys.exit(status)
"""
# One line, so that the page's lines keep their numbers. Variables and folder are the last block's.
BEFORE = "; ".join(
    (
        'if [ -f "$CODE_BLOCKS_STATE" ]; then . "$CODE_BLOCKS_STATE" 2>/dev/null || true; fi',
        'cd "$PWD"',
        "trap 'unset CODE_BLOCKS; declare -p > \"$CODE_BLOCKS_STATE\"' EXIT",
        "trap 'echo \"line $LINENO: $BASH_COMMAND\" >&2' ERR",
        "set -Eeuo pipefail",
    )
)
UNKNOWN_IS_FINE = "; command_not_found_handle() { :; }"
OWN = {"CODE_BLOCKS", "CODE_BLOCKS_STATE", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


@dataclass(frozen=True)
class Call:
    """A program called by a command.

    Attributes
    ----------
    program : str
    arguments : list of str
    folder : Path
        The one it was called in.
    variables : dict of str
        Of the environment: those that the page has set.
    """

    program: str
    arguments: list[str]
    folder: Path
    variables: dict[str, str]


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    status: int = 0
    output: str = ""
    error: str = ""


Answer = Callable[[Call], Done]


class Shell:
    """The shell of one page: what a block sets and where it goes, the next one finds.

    Parameters
    ----------
    folder : Path
        Where its first command runs.
    own : Path
        A folder for what the shell itself needs.
    programs : iterable of str
        What `answer` is called for.
    """

    def __init__(self, folder: Path, own: Path, programs: Iterable[str]) -> None:
        self.folder, self.state, self.path = folder, own / "state", own / "bin"
        self.path.mkdir(parents=True)
        for name in programs:
            (self.path / name).write_text(ASK)
            (self.path / name).chmod(0o755)
        for name in HARMLESS:
            if place := shutil.which(name):
                (self.path / name).symlink_to(place)

    def run(self, block: str, line: int, answer: Answer, lenient: bool = False) -> str | None:
        """Run a block, whose first line is this one of its page; what went wrong, or None.

        With `lenient`, programs that nobody knows do nothing.
        """
        before = BEFORE + (UNKNOWN_IS_FINE if lenient else "")
        script = before + "\n" * (line - 1) + block
        with Listener(family="AF_UNIX") as listener:
            environment = {
                **os.environ,
                "PATH": str(self.path),
                "CODE_BLOCKS": str(listener.address),
                "CODE_BLOCKS_STATE": str(self.state),
            }
            bash = subprocess.Popen(
                [shutil.which("bash") or "bash", "--noprofile", "--norc", "-c", script],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            said: list[str] = []

            def wait() -> None:
                try:
                    said.append(bash.communicate(timeout=PATIENCE)[0])
                except subprocess.TimeoutExpired:
                    bash.kill()
                    said.append(f"{bash.communicate()[0]}\nnot done in {PATIENCE} s")
                Client(listener.address).close()

            Thread(target=wait, daemon=True).start()
            try:
                self._serve(listener, environment, answer)
            finally:
                bash.kill()
        return f"exit status {bash.returncode}\n{said[0]}" if bash.returncode else None

    def _serve(self, listener: Listener, base: dict[str, str], answer: Answer) -> None:
        """Answer programs until bash has ended."""
        while True:
            with listener.accept() as asking:
                try:
                    program, arguments, folder, variables = asking.recv()
                except EOFError:
                    return
                set_ = {
                    name: value
                    for name, value in variables.items()
                    if base.get(name) != value and name not in OWN
                }
                try:
                    done = answer(Call(program, arguments, Path(folder), set_))
                except Exception:  # a fault of the program's own, to be told like any
                    done = Done(1, error=traceback.format_exc())
                asking.send((done.status, done.output, done.error))
