"""A TCP port in front of a server that listens on a Unix socket."""

import contextlib
import select
import socket
import threading


def forward_all(listener: socket.socket, path: str) -> None:
    """Connect every client of a listener with the Unix socket at a path, until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_forward, args=(client, path), daemon=True).start()


def _forward(client: socket.socket, path: str) -> None:
    """Carry what either side says to the other until one of them is done."""
    with client, socket.socket(socket.AF_UNIX) as backend, contextlib.suppress(OSError):
        backend.connect(path)
        other = {client: backend, backend: client}
        while True:
            for source in select.select([client, backend], [], [])[0]:
                data = source.recv(65536)
                if not data:
                    return
                other[source].sendall(data)
