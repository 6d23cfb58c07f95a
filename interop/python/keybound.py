"""The real program `keybound issuer`, started on a port of its own, and the exceptions its peer is known for."""

import json
import os
import pathlib
import socket
import subprocess
import tempfile
import threading
import time

from jwskate import Jwk

HERE = pathlib.Path(__file__).parent
PROGRAM = os.environ.get("KEYBOUND", HERE / "../../target/debug/keybound")

# The secret of every client that has one.
SECRET = "interop-7Fjfp0ZBr1KtDRbnfVdmIw"

# Where the clients of people have them sent back.
REDIRECT = "https://app.example.com/back"

# How long after its start an issuer with a new store refuses client assertions: 10 s, and whole seconds.
ASSERTIONS = 12

EXCEPTIONS = {row["name"]: row for row in json.loads((HERE / "exceptions.json").read_text())}


class Issuer:
    """An issuer with this nonce policy, which approves by itself."""

    def __init__(self, nonce):
        self.folder = tempfile.TemporaryDirectory(prefix="keybound-interop-")
        folder = pathlib.Path(self.folder.name)
        self.signer = Jwk.generate(alg="ES256").with_kid_thumbprint()
        (folder / "signer.jwks.json").write_text(json.dumps({"keys": [dict(self.signer.public_jwk())]}))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        (folder / "issuer.toml").write_text(configuration(self.url, nonce))
        environment = {"PATH": os.environ["PATH"], "KEYBOUND_HOME": str(folder / "home")}
        command = [PROGRAM, "issuer", "--config", folder / "issuer.toml"]
        self.process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "listening" in line:
                # Its store is there, and may be no older than this.
                self.started = time.monotonic()
                break
        else:
            raise RuntimeError("it ended:\n" + "".join(said))
        # It goes on talking, and must not wait for somebody who listens.
        self.listener = threading.Thread(target=self.process.stderr.read, daemon=True)
        self.listener.start()

    def stop(self):
        self.process.terminate()
        status = self.process.wait(timeout=30)
        self.listener.join()
        self.process.stderr.close()
        self.folder.cleanup()
        if status != 0:
            raise RuntimeError(f"it ended with {status}")

    def takes_assertions(self):
        """Waits until it does."""
        time.sleep(max(0, self.started + ASSERTIONS - time.monotonic()))


def configuration(url, nonce):
    people = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
    exchange = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]
    secret, back = f'client_secret = "{SECRET}"', f'redirect_uris = ["{REDIRECT}"]'
    clients = [
        client("basic", "client_secret_basic", ["client_credentials"], secret),
        client("post", "client_secret_post", ["client_credentials"], secret),
        client("signer", "private_key_jwt", ["client_credentials"], 'jwks_file = "signer.jwks.json"'),
        client("app", "none", people, back),
        client("objects", "client_secret_basic", people, secret, 'jwks_file = "signer.jwks.json"', back),
        client("web", "client_secret_basic", people, secret, back),
        client("loose", "client_secret_post", exchange, secret, "dpop_bound_access_tokens = false"),
    ]
    return f"""
[listen]
address = "{url.removeprefix("http://")}"
[proof]
nonce = "{nonce}"
[authorization_server]
url = "{url}"
audience = ["https://api.example.com"]
store = "sqlite:issuer.db"
auto_approve = "alice"
{"".join(clients)}"""


def client(name, method, grants, *lines):
    return f"""
[[authorization_server.client]]
client_id = "{name}"
token_endpoint_auth_method = "{method}"
grant_types = {json.dumps(grants)}
scope = ["openid", "read", "write"]
""" + "\n".join(lines)
