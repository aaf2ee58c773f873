"""The little of MQTT 3.1.1 that it takes to publish, without a library.

A broker that is gone raises OSError: the service ends, and is started again.
"""

import os
import socket
import ssl
import struct
from urllib.parse import unquote, urlparse


def text(s):
    raw = s.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(kind, body):
    length, rest = b"", len(body)
    while True:
        rest, digit = divmod(rest, 128)
        length += bytes([digit | (128 if rest else 0)])
        if not rest:
            return bytes([kind]) + length + body


class Publisher:
    def __init__(self, url, ca=None):
        at = urlparse(url)
        tls = at.scheme == "mqtts"
        self.socket = socket.create_connection((at.hostname, at.port or (8883 if tls else 1883)), timeout=10)
        if tls:
            context = ssl.create_default_context(cafile=ca)
            self.socket = context.wrap_socket(self.socket, server_hostname=at.hostname)
        flags, login = 2, b""  # a clean session
        if at.username:
            flags |= 0x80
            login += text(unquote(at.username))
        if at.password:
            flags |= 0x40
            login += text(unquote(at.password))
        client = text("counter-" + os.environ.get("START_ID", ""))
        self.socket.sendall(packet(0x10, text("MQTT") + bytes([4, flags]) + struct.pack("!H", 60) + client + login))
        answer = self.socket.recv(4)
        if answer[:1] != b"\x20" or answer[3:] != b"\x00":
            raise OSError(f"the broker answered {answer.hex()}, which is no welcome")

    def publish(self, topic, payload, retain=False):
        self.socket.sendall(packet(0x31 if retain else 0x30, text(topic) + payload.encode()))

    def close(self):
        self.socket.sendall(b"\xe0\x00")
        self.socket.close()
