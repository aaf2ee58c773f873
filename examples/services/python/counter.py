"""A counter: it publishes its state every two seconds. Needs Python alone."""

import json
import os
import signal
import socket
import threading

from mqtt import Publisher


def notify(words):
    """Says on the service's own socket how it is (sd_notify)."""
    address = os.environ["NOTIFY_SOCKET"]
    if address.startswith("@"):  # a name that the kernel keeps, and no path
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(words.encode(), address)


def main():
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    topic = os.environ["SERVICE_TOPIC"]
    bus = Publisher(os.environ["DOMINION_URL"], os.environ.get("DOMINION_CA"))
    count = 0
    while not ended.is_set():
        bus.publish(topic + "/state", json.dumps({"count": count, "on": True}), retain=True)
        notify(f"READY=1\nWATCHDOG=1\nSTATUS=counted to {count}")
        count += 1
        ended.wait(2)
    notify("STOPPING=1")
    bus.publish(topic + "/state", json.dumps({"count": count, "on": False}), retain=True)
    bus.close()


main()
