#!/usr/bin/env python3
"""A lamp that is a microdomain of the house (docs/protocol.md, "Being a node").

    pip install paho-mqtt        (or apt install python3-paho-mqtt)
    DOMINION_URL=mqtt://lamp-2:secret@192.168.1.2:1883 ./lamp.py lamp-2
"""
import json
import os
import secrets
import signal
import sys
import urllib.parse

import paho.mqtt.client as mqtt

NODE = sys.argv[1] if len(sys.argv) > 1 else sys.exit("usage: lamp.py NODE")
ON = f"{os.environ.get('DOMINION_BASE', 'dominion')}/{NODE}"
BROKER = urllib.parse.urlsplit(os.environ.get("DOMINION_URL", "mqtt://127.0.0.1:1883"))


def blink(command):
    print("blink", flush=True)
    return "blinked"


METHODS = {"blink": blink, "ping": lambda command: "pong"}


def say(client, topic, retain=True, /, **fields):
    return client.publish(f"{ON}/{topic}", json.dumps({"v": 1, **fields}), qos=1, retain=retain)


def born(client, *_):
    """Says everything at each connect, for brokers forget; presence comes last."""
    client.subscribe(f"{ON}/command/#", qos=1)
    say(client, "state/service/lamp", service="lamp", phase="running", ready=True, restarts=0)
    say(client, "state/info", kind="micro", services={"lamp": "1.0.0"}, methods=sorted(METHODS))
    say(client, "state/presence", state="online")


ANSWERED = {}  # the last replies by id: who repeats himself is answered, and nothing is done twice


def heard(client, _, message):
    if message.retain:  # no command is kept
        return
    if not message.payload:
        text = "an empty payload is no command (send one word: now)"
        say(client, "event/error/command", False, code="EMPTY", text=text, topic=message.topic)
        return
    method, subject = message.topic.removeprefix(f"{ON}/command/").split("/", 1)
    try:
        command = json.loads(message.payload)
    except ValueError:
        command = {}  # a bare word
    answer_id = command.get("id") if isinstance(command, dict) else None
    answer_id = answer_id or secrets.token_hex(5)
    if answer_id not in ANSWERED:
        ANSWERED[answer_id] = {"id": answer_id, "topic": message.topic, **run(method, subject, command)}
        for oldest in list(ANSWERED)[:-256]:
            del ANSWERED[oldest]
    say(client, f"event/reply/{answer_id}", False, **ANSWERED[answer_id])


def run(method, subject, command):
    if subject == "host" and method in METHODS:
        return {"status": "done", "result": METHODS[method](command)}
    text = f"this lamp has {', '.join(sorted(METHODS))}, with the subject host"
    return {"status": "refused", "why": {"code": "UNKNOWN_METHOD", "text": text}}


newest = [mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []  # paho 2, or Debian 12's 1.6
lamp = mqtt.Client(*newest, client_id=f"{ON.replace('/', '.')}.py")
lamp.will_set(f"{ON}/state/presence", json.dumps({"v": 1, "state": "lost"}), qos=1, retain=True)
lamp.on_connect, lamp.on_message = born, heard
if BROKER.username:
    lamp.username_pw_set(urllib.parse.unquote(BROKER.username), urllib.parse.unquote(BROKER.password or ""))
if BROKER.scheme == "mqtts":
    lamp.tls_set(os.environ.get("DOMINION_CA"))
lamp.connect_async(BROKER.hostname, BROKER.port or (8883 if BROKER.scheme == "mqtts" else 1883), keepalive=10)
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    lamp.loop_forever(retry_first_connection=True)
except KeyboardInterrupt:
    say(lamp, "state/presence", state="stopped", services="stopped").wait_for_publish(2)
    lamp.disconnect()
