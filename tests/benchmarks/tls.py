"""What TLS alone makes of large data: there and back between two processes on loopback TCP."""

from __future__ import annotations

import os
import socket
import ssl
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.accounting import Window
from benchmarks.candidates import LackingError

if TYPE_CHECKING:
    from benchmarks.model import Values

PIECE = 1_000_000
PIECES = 64
_SUBJECT = "/CN=localhost"


def echo(count: int) -> Values:
    """Return the rate, both ways counted, in MB/s, and the processor time of one echo in ms."""
    with tempfile.TemporaryDirectory() as folder:
        files = _certificate(folder)
        with socket.create_server(("127.0.0.1", 0)) as server:
            pid = os.fork()
            if not pid:
                _serve(server, files)
                os._exit(0)
            values = _measure(server.getsockname(), count)
        os.waitpid(pid, 0)
    return values


def _certificate(folder: str) -> tuple[str, str]:
    """Make a certificate, and return where it and its key are."""
    certificate, key = str(Path(folder, "certificate")), str(Path(folder, "key"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", _SUBJECT, "-keyout", key, "-out", certificate]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        raise LackingError("there is no openssl command") from None
    return certificate, key


def _serve(server: socket.socket, files: tuple[str, str]) -> None:
    """Send back what comes, each time that all has come."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    pieces = [bytearray(PIECE) for _ in range(PIECES)]
    with context.wrap_socket(server.accept()[0], server_side=True) as sock:
        while _receive(sock, pieces):
            for piece in pieces:
                sock.sendall(piece)


def _receive(sock: ssl.SSLSocket, pieces: list[bytearray]) -> bool:
    """Fill *pieces*; return False if nothing more comes."""
    for piece in pieces:
        view = memoryview(piece)
        while view:
            size = sock.recv_into(view)
            if not size:
                return False
            view = view[size:]
    return True


def _measure(address: tuple[str, int], count: int) -> Values:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sent = [bytes([number]) * PIECE for number in range(PIECES)]
    pieces = [bytearray(PIECE) for _ in range(PIECES)]
    cpu: list[float] = []
    wall: list[float] = []
    with context.wrap_socket(socket.create_connection(address)) as sock:
        for _ in range(count + 1):
            with Window() as window:
                for piece in sent:
                    sock.sendall(piece)
                _receive(sock, pieces)
            cpu.append(window.cpu)
            wall.append(window.wall)
    size = 2 * PIECE * PIECES / 1e6
    return {
        "rate": size / statistics.median(wall[1:]),
        "cpu": statistics.median(cpu[1:]) * 1000,
    }
