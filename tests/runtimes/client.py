"""A client of the servers in servers.sh, over a Unix socket: client.py http|fastcgi|download|redis|postgres SOCKET ..."""

import os
import socket
import struct
import sys
import time

DEADLINE = 60


def connect(path):
    """Connects as soon as the server listens."""
    end = time.monotonic() + DEADLINE
    while True:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE)
        try:
            connection.connect(path)
            return connection
        except OSError:
            connection.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def until(connection, end):
    """Everything up to this."""
    got = b""
    while not got.endswith(end):
        byte = connection.recv(1)
        if not byte:
            sys.exit(f"the connection has ended behind {got!r}")
        got += byte
    return got


def rest(connection):
    """Everything until the server's end of it is closed, in whatever way."""
    got = []
    try:
        while piece := connection.recv(1 << 16):
            got.append(piece)
    except ConnectionError:
        pass
    return b"".join(got)


def fastcgi(script):
    """The first request of a connection: a responder's, with its parameters and no body."""

    def record(kind, content):
        return struct.pack(">BBHHBx", 1, kind, 1, len(content), 0) + content

    parameters = {b"REQUEST_METHOD": b"GET", b"SCRIPT_FILENAME": script.encode()}
    pairs = b"".join(struct.pack("BB", len(name), len(value)) + name + value for name, value in parameters.items())
    return record(1, b"\0\1\0\0\0\0\0\0") + record(4, pairs) + record(4, b"") + record(5, b"")


def body(answer):
    return answer.partition(b"\r\n\r\n")[2]


def begun(directory):
    open(os.path.join(directory, "in-flight"), "w").close()


def main():
    kind, path, *words = sys.argv[1:]
    connection = connect(path)
    if kind == "http":
        connection.sendall(b"GET /slow HTTP/1.0\r\n\r\n")
        print(body(rest(connection)).decode())
    elif kind == "fastcgi":
        connection.sendall(fastcgi(words[0]))
        # What follows the text is padding and the end of the request.
        print("hello" if body(rest(connection)).startswith(b"hello") else "")
    elif kind == "download":
        connection.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        until(connection, b"\r\n\r\n")
        begun(words[0])
        while not os.path.exists(os.path.join(words[0], "gate")):
            time.sleep(0.01)
        print(len(rest(connection)))
    elif kind == "redis":
        for command in words:
            connection.sendall(command.encode() + b"\r\n")
            line = until(connection, b"\r\n")
            # A string comes behind its length.
            is_string = line.startswith(b"$") and line != b"$-1\r\n"
            print((until(connection, b"\r\n") if is_string else line).decode().rstrip())
    elif kind == "postgres":
        parameters = b"\0\3\0\0user\0postgres\0database\0postgres\0\0"
        connection.sendall(struct.pack(">I", 4 + len(parameters)) + parameters)
        until(connection, b"Z\0\0\0\5I")
        begun(words[0])
        print("administrator command" if b"due to administrator command" in rest(connection) else "")


main()
