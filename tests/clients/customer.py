"""What both clients share: requests, a list of differences, and a receiver of calls."""

import http.client
import http.server
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone

# Sees to it that a proxy of the environment is not asked for addresses of this machine.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Answer:
    """Status, headers and body of an answer, with the request that it belongs to."""

    def __init__(self, request, status, headers, text):
        self.request, self.status, self.headers, self.text = request, status, headers, text
        try:
            self.json = json.loads(text)
        except ValueError:
            self.json = None

    def __str__(self):
        return f"{self.request} -> {self.status} {self.text[:300]}"


class Api:
    def __init__(self, url, key):
        self.url, self.key = url.rstrip("/"), key

    def call(self, method, path, body=None, query=None, key=None, raw=None, headers=None):
        """Makes a request; `key=""` leaves the key out, `raw` is a body as it stands."""
        url = self.url + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        request = urllib.request.Request(url, data=data, method=method)
        key = self.key if key is None else key
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        said = f"{method} {url.removeprefix(self.url)} {'' if data is None else data.decode()[:200]}"
        try:
            with OPENER.open(request, timeout=60) as answer:
                return Answer(said, answer.status, answer.headers, answer.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(said, error.code, error.headers, error.read().decode())


class Report:
    """Counts checks and prints each difference at once."""

    def __init__(self):
        self.checks, self.differences = 0, []

    def check(self, true, what, answer=None):
        self.checks += 1
        if not true:
            line = what if answer is None else f"{what}: {answer}"
            self.differences.append(line)
            print("DIFFERS", line, flush=True)
        return bool(true)

    def equal(self, got, wanted, what, answer=None):
        return self.check(got == wanted, f"{what} is {got!r} and not {wanted!r}", answer)

    def end(self):
        print(f"{self.checks} checks, {len(self.differences)} differences")
        return 1 if self.differences else 0


class Receiver:
    """Keeps each request that it gets and answers with a status that can be changed."""

    def __init__(self):
        self.requests, self.status = [], 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append((self.command, self.path, self.headers, body.decode()))
                self.send_response(outer.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def at(self, path):
        return [request for request in self.requests if request[1] == path]


def eventually(condition, seconds=60):
    """Waits until the condition gives something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.3)


def parse_time(text):
    """A time with a zone, or None where the text is none."""
    if not isinstance(text, str):
        return None
    try:
        time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo else None


def in_seconds(seconds):
    time = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
