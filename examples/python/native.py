#!/usr/bin/env python3
"""One job through Fanfold's own API, from the API key to the result.

    native.py FILE     prints FILE in title case

Needs nothing but Python's standard library, and the template hello-world-template.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

URL = os.environ.get("FANFOLD_URL", "http://127.0.0.1:8700")
KEY = os.environ.get("FANFOLD_API_KEY", "")


def send(method, url, body=None, headers=None):
    """Sends a request and gives the bytes of its answer."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def call(method, path, body=None, **headers):
    """Calls the API with the key; a refusal ends the program with what it says."""
    headers = {"Authorization": KEY, "Content-Type": "application/json", **headers}
    payload = None if body is None else json.dumps(body).encode()
    try:
        return json.loads(send(method, URL + path, payload, headers))
    except urllib.error.HTTPError as refusal:
        # A problem document (RFC 9457): `code` is for programs, `detail` for people.
        problem = json.load(refusal)
        sys.exit(f"{method} {path}: {problem['code']}: {problem['detail']}")


def start(file):
    """Creates a job of the file, uploads the file, and gives the id of its run."""
    # The Idempotency-Key makes it safe to repeat the call after a lost answer.
    job = call("POST", "/v1/jobs", {
        "template": "hello-world-template",
        "name": "example for Python",
        "source": {"type": "file", "name": os.path.basename(file)},
        "destination": {"type": "bucket"},
        "params": {"app": {"case": "title"}},
    }, **{"Idempotency-Key": str(uuid.uuid4())})
    with open(file, "rb") as content:
        # The link is signed and needs no key.
        send("PUT", job["upload_link"], content.read())
    call("POST", f"/v1/jobs/{job['id']}/upload", {})
    return call("POST", f"/v1/jobs/{job['id']}/runs", {})["run"]["id"]


def wait(run):
    """Waits for the end of a run and gives it."""
    while True:
        status = call("GET", f"/v1/runs/{run}")
        print(f"run {run}: {status['state']}", file=sys.stderr)
        if status["state"] == "succeeded":
            return status
        if status["state"] in ("failed", "cancelled"):
            sys.exit(status["error"] or "the run was cancelled")
        time.sleep(1)


def main():
    if not KEY or len(sys.argv) != 2:
        sys.exit("set FANFOLD_URL and FANFOLD_API_KEY, then: native.py FILE")
    run = start(sys.argv[1])
    print(f"it cost {wait(run)['price']} credits", file=sys.stderr)
    for result in call("GET", f"/v1/runs/{run}/results")["files"]:
        # Links need no key; they are valid for 48 hours.
        sys.stdout.buffer.write(send("GET", result["link"]))


if __name__ == "__main__":
    main()
