"""Scripts in new processes that begin with the same imports: one process makes the imports, and forks for each script.

    with forks("import airflow.sdk") as run:
        print(run("import sys; print('duckdb' in sys.modules)"))

To import Airflow takes two seconds of a processor, a fork a hundredth of one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

_PROGRAM = """
import contextlib, io, json, os, sys, traceback
exec(sys.argv[1], {"__name__": "before"})
for line in sys.stdin:
    asked = json.loads(line)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        # What a library prints past `sys.stdout` must not come between the answers.
        os.dup2(2, 1)
        os.close(reading)
        printed, failure = io.StringIO(), ""
        os.environ.update(asked["settings"])
        sys.argv[1:] = asked["arguments"]
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(asked["script"], "<script>", "exec"), {"__name__": "__main__"})
        except BaseException:
            failure = traceback.format_exc()
        with open(writing, "w") as answer:
            json.dump([printed.getvalue(), failure], answer)
        os._exit(0)
    os.close(writing)
    with open(reading) as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    print(text or json.dumps(["", f"the process ended with status {status}"]), flush=True)
"""


@contextmanager
def forks(before: str) -> Iterator[Callable[..., str]]:
    """Run a script once, and then others in forks of its process.

    Yields:
        A function of a script, its arguments, and environment variables as `settings`. It returns what the script
        printed, and raises `AssertionError` with the traceback if the script failed.
    """
    command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, before]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout
        writing, reading = process.stdin, process.stdout

        def run(script: str, *arguments: str, settings: Mapping[str, str] | None = None) -> str:
            asked = {"script": script, "arguments": arguments, "settings": dict(settings or {})}
            writing.write(f"{json.dumps(asked)}\n")
            writing.flush()
            printed, failure = json.loads(reading.readline())
            assert not failure, failure
            return str(printed)

        yield run
