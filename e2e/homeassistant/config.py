#!/usr/bin/env python3
"""Write the configuration directory of a Home Assistant that is already set up.

Home Assistant started on it has no onboarding to go through: it has an owner
with a long-lived access token (in the file CFG/token) and an MQTT integration
that points at the given broker. It listens on 127.0.0.1 alone.

    config.py CFG --broker-port 1883 --http-port 8123 [--username U --password P]

The files have the format of Home Assistant 2025.1. Newer versions migrate them
when they start; 2026.11.0 was tried. Only the standard library is needed.
"""

import argparse
import base64
import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path

LONG_AGO = "2025-01-01T00:00:00+00:00"
TEN_YEARS = 10 * 365 * 24 * 3600

CONFIGURATION = """\
homeassistant:
  name: e2e
  latitude: 0
  longitude: 0
  elevation: 0
  unit_system: metric
  time_zone: UTC
  country: US
http:
  server_host: 127.0.0.1
  server_port: {http_port}
api:
websocket_api:
config:
device_automation:
logger:
  default: warning
  logs:
    homeassistant.components.mqtt: info
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cfg", type=Path, help="directory to write")
    parser.add_argument("--broker", default="127.0.0.1", help="address of the broker")
    parser.add_argument("--broker-port", type=int, default=1883)
    parser.add_argument("--username", help="login on the broker, none by default")
    parser.add_argument("--password")
    parser.add_argument(
        "--protocol",
        choices=("5", "3.1.1"),
        default="5",
        help="MQTT version of the integration (default 5, as a new one has)",
    )
    parser.add_argument("--http-port", type=int, default=8123)
    args = parser.parse_args()

    args.cfg.mkdir(parents=True, exist_ok=True)
    write_http(args.cfg, args.http_port)
    write_frontend(args.cfg)
    write_mqtt(args.cfg, args)
    token = write_owner(args.cfg)
    (args.cfg / "token").write_text(token, encoding="utf-8")


def write_http(cfg: Path, port: int) -> None:
    text = CONFIGURATION.format(http_port=port)
    (cfg / "configuration.yaml").write_text(text, encoding="utf-8")
    # From 2026.7 the stored settings count: those in the YAML are on trial, and
    # five minutes later Home Assistant would restart with the stored ones.
    # Stored settings equal to the YAML leave nothing to try.
    store(cfg, "http", 1, 1, {"server_host": ["127.0.0.1"], "server_port": port})


def write_frontend(cfg: Path) -> None:
    """Put an empty integration in the frontend's place.

    Home Assistant enters recovery mode, without MQTT, when its frontend is
    missing; the real one is a package of 50 MB or more.
    """
    stub = cfg / "custom_components" / "frontend"
    write_json(
        stub / "manifest.json",
        {
            "domain": "frontend",
            "name": "frontend",
            "version": "0.0.1",
            "documentation": "http://localhost",
            "codeowners": [],
            "requirements": [],
            "dependencies": [],
            "iot_class": "calculated",
            "integration_type": "system",
        },
    )
    (stub / "__init__.py").write_text(
        "async def async_setup(hass, config):\n    return True\n", encoding="utf-8"
    )


def write_mqtt(cfg: Path, args: argparse.Namespace) -> None:
    data = {
        "broker": args.broker,
        "port": args.broker_port,
        "protocol": args.protocol,
    }
    if args.username:
        data |= {"username": args.username, "password": args.password or ""}
    entry = {
        "created_at": LONG_AGO,
        "modified_at": LONG_AGO,
        "discovery_keys": {},
        "disabled_by": None,
        "domain": "mqtt",
        "entry_id": "e2e00000000000000000000000000000",
        "version": 1,
        "minor_version": 1,
        "options": {},
        "pref_disable_new_entities": False,
        "pref_disable_polling": False,
        "source": "user",
        "title": args.broker,
        "unique_id": None,
        "data": data,
    }
    store(cfg, "core.config_entries", 1, 4, {"entries": [entry]})


def write_owner(cfg: Path) -> str:
    """Write an owner who has been through onboarding; return an access token."""
    done = ["user", "core_config", "analytics", "integration"]
    store(cfg, "onboarding", 4, 1, {"done": done})
    user_id, token_id = secrets.token_hex(16), secrets.token_hex(16)
    key = secrets.token_hex(64)
    user = {
        "id": user_id,
        "group_ids": ["system-admin"],
        "is_owner": True,
        "is_active": True,
        "name": "e2e",
        "system_generated": False,
        "local_only": False,
    }
    refresh_token = {
        "id": token_id,
        "user_id": user_id,
        "client_id": None,
        "client_name": "e2e",
        "client_icon": None,
        "token_type": "long_lived_access_token",
        "created_at": LONG_AGO,
        "access_token_expiration": float(TEN_YEARS),
        "token": secrets.token_hex(64),
        "jwt_key": key,
        "last_used_at": None,
        "last_used_ip": None,
        "expire_at": None,
        "credential_id": None,
        "version": "2025.1.4",
    }
    groups = [
        {"id": "system-admin", "name": "Administrators"},
        {"id": "system-users", "name": "Users"},
        {"id": "system-read-only", "name": "Read Only"},
    ]
    store(
        cfg,
        "auth",
        1,
        1,
        {
            "users": [user],
            "groups": groups,
            "credentials": [],
            "refresh_tokens": [refresh_token],
        },
    )
    return access_token(token_id, key)


def access_token(token_id: str, key: str) -> str:
    """Sign the JWT (HS256) Home Assistant would have given for the token."""

    def part(raw: bytes) -> bytes:
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    def claims(value: dict) -> bytes:
        return part(json.dumps(value, separators=(",", ":")).encode())

    now = int(time.time())
    signed = claims({"alg": "HS256", "typ": "JWT"})
    signed += b"." + claims({"iss": token_id, "iat": now, "exp": now + TEN_YEARS})
    signature = hmac.new(key.encode(), signed, hashlib.sha256).digest()
    return (signed + b"." + part(signature)).decode()


def store(cfg: Path, key: str, version: int, minor: int, data: dict) -> None:
    """Write one file of Home Assistant's .storage."""
    content = {"version": version, "minor_version": minor, "key": key, "data": data}
    write_json(cfg / ".storage" / key, content)


def write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
