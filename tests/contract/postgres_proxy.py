"""A proxy before a PostgreSQL server, on a Unix socket, that can swallow the answer to a commit and hang up."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"
_COMMITTED = b"COMMIT\x00"


class Proxy:
    """Hands everything on; while `loses_commits`, what a commit is answered with is lost, with the connection."""

    def __init__(self, folder: Path, *, server: Path) -> None:
        self.folder = folder
        self.loses_commits = False
        self._server = str(server / _SOCKET)
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def serve(self, listening: socket.socket) -> None:
        """Take connections until `end`."""
        while not self._ended.is_set():
            if select.select([listening], [], [], 0.02)[0]:
                client, _ = listening.accept()
                thread = threading.Thread(target=self._hand_on, args=(client,), daemon=True)
                thread.start()
                self._threads.append(thread)

    def end(self) -> None:
        """End every connection."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _hand_on(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            while not self._ended.is_set():
                for source in select.select([client, server], [], [], 0.02)[0]:
                    try:
                        content = source.recv(1 << 16)
                        if not content or (source is server and self.loses_commits and _COMMITTED in content):
                            return
                        (client if source is server else server).sendall(content)
                    except OSError:
                        return


@contextmanager
def postgres_proxy(folder: Path, *, server: Path) -> Iterator[Proxy]:
    """Listen in a folder for the server that listens in another, until the block ends."""
    proxy = Proxy(folder, server=server)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / _SOCKET))
        listening.listen()
        thread = threading.Thread(target=proxy.serve, args=(listening,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.end()
            thread.join()
