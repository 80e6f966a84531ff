"""HTTP as customers' scripts spoke it, and checks that say what they check.

A check that fails ends the script with status 1. With KEEP_GOING=1 the script goes on as far as
it can, lists all differences at its end, and ends with status 1 as well.
"""

import http.client
import json
import os
import sys
import time
import urllib.parse
from decimal import Decimal

SERVER = os.environ.get("FANFOLD_URL", "").rstrip("/")
API_KEY = os.environ.get("FANFOLD_API_KEY", "")
OTHER_API_KEY = os.environ.get("FANFOLD_OTHER_API_KEY", "")
IMAGE = os.environ.get("IMAGE", "")
KEEP_GOING = bool(os.environ.get("KEEP_GOING"))

CUSTOMER, AUTH, DEV, WALLET = "/v1/customer", "/v1/auth", "/v1/dev", "/v1/wallet"
HTTP_SECS = 30
WAIT_SECS = 120

differences = []


class Stop(Exception):
    """A step cannot go on without what it just missed."""


class Answer:
    """What came back for one request, with the request, for messages."""

    def __init__(self, request, status, headers, raw):
        self.request, self.status, self.headers, self.raw = request, status, headers, raw

    @property
    def body(self):
        """The JSON of the answer; money keeps all its digits. None where it is no JSON."""
        try:
            return json.loads(self.raw, parse_float=Decimal)
        except ValueError:
            return None

    def __str__(self):
        return f"{self.request}\n     <- {self.status} {self.raw.decode(errors='replace')[:900]}"


class Session:
    """One customer; `token` goes into the Authorization header as it is."""

    def __init__(self, token=None):
        self.token = token
        self.last = None

    def call(self, method, path, body=None, query=None, headers=None):
        """Sends a request; `body` may be bytes for what is to arrive as written."""
        if query:
            path += "?" + urllib.parse.urlencode(query)
        sent = {"Content-Type": "application/json"} if body is not None else {}
        if self.token is not None:
            sent["Authorization"] = self.token
        sent.update(headers or {})
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        url = path if path.startswith("http") else SERVER + path
        status, received, raw = exchange(method, url, payload, sent)
        shown = (payload or b"").decode(errors="replace")[:400]
        self.last = Answer(f"{method} {path[:300]} {shown}", status, received, raw)
        return self.last

    def get(self, path, **query):
        return self.call("GET", path, query={k.replace("__", "."): v for k, v in query.items()})

    def post(self, path, body=None):
        return self.call("POST", path, body)

    def patch(self, path, body=None):
        return self.call("PATCH", path, body)

    def delete(self, path):
        return self.call("DELETE", path)

    def open(self, path, headers):
        """The answer of a request whose body is read as it comes."""
        parts = urllib.parse.urlsplit(SERVER + path)
        wire = http.client.HTTPConnection(parts.hostname, parts.port, timeout=HTTP_SECS)
        wire.request("GET", path, headers={"Authorization": self.token, **headers})
        return wire.getresponse()


def exchange(method, url, payload, headers):
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    wire = kind(parts.hostname, parts.port, timeout=HTTP_SECS)
    target = parts.path + ("?" + parts.query if parts.query else "")
    try:
        wire.request(method, target, payload, headers)
        answer = wire.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        wire.close()


def check(claim, holds, seen=""):
    """Prints what is checked; ends the script where it does not hold. Gives whether it holds."""
    if holds:
        print(f"ok   {claim}")
        return True
    print(f"DIFF {claim}\n     -> {seen}", flush=True)
    differences.append(claim)
    if not KEEP_GOING:
        sys.exit(f"the server differs from the specification: {claim}")
    return False


def need(claim, holds, seen=""):
    """A check that what follows is built on."""
    if not check(claim, holds, seen):
        raise Stop(claim)


def answered(claim, answer, status=200):
    """Checks the status of an answer and gives its JSON."""
    need(claim, answer.status == status and answer.body is not None, answer)
    return answer.body


def sign_in(key=API_KEY):
    """A session with an access token in exchange for an API key."""
    answer = Session().post(f"{AUTH}/access_token", {"apiKey": key})
    token = answered("an API key gives an access token (1.2)", answer)
    return Session(token.get("token")), answer


def until(claim, found):
    """Asks again until something is found; the claim fails after a while."""
    deadline = time.monotonic() + WAIT_SECS
    while time.monotonic() < deadline:
        value = found()
        if value is not None:
            return value
        time.sleep(0.2)
    need(claim, False, f"not within {WAIT_SECS} s")


def run(*steps):
    """Runs the steps of a script: each in order, each on what the ones before it left."""
    for name, value in (("FANFOLD_URL", SERVER), ("FANFOLD_API_KEY", API_KEY), ("IMAGE", IMAGE)):
        if not value:
            sys.exit(f"set {name}")
    for step in steps:
        print(f"\n-- {(step.__doc__ or step.__name__).splitlines()[0]}", flush=True)
        try:
            step()
        except Stop as missed:
            print(f"     the rest of this step needs: {missed}", flush=True)
        except (AttributeError, KeyError, TypeError, IndexError, ValueError, OSError) as error:
            if not KEEP_GOING:
                raise
            check(f"{step.__name__} can read what the server says", False, repr(error))
    if differences:
        sys.exit("\n{} differences:\n- {}".format(len(differences), "\n- ".join(differences)))
    print("\nno difference to the specification")
