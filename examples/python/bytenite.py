#!/usr/bin/env python3
"""One job through the API for clients of ByteNite, from the API key to the result.

    bytenite.py FILE     prints FILE in title case

Needs nothing but Python's standard library, and the template hello-world-template.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from decimal import Decimal

URL = os.environ.get("FANFOLD_URL", "http://127.0.0.1:8700")
KEY = os.environ.get("FANFOLD_API_KEY", "")


def send(method, url, body=None, headers=None):
    """Sends a request and gives the bytes of its answer."""
    request = urllib.request.Request(url, body, headers or {}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


class Session:
    """A customer with an access token, which an API key gives for an hour."""

    def __init__(self, key):
        self.token = ""
        self.token = self.call("POST", "/v1/auth/access_token", {"apiKey": key})["token"]

    def call(self, method, path, body=None):
        """Calls the API; a refusal ends the program with its message."""
        headers = {"Authorization": self.token, "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body).encode()
        try:
            # Amounts of credits are numbers here; a Decimal keeps all their digits.
            return json.loads(send(method, URL + path, payload, headers), parse_float=Decimal)
        except urllib.error.HTTPError as refusal:
            sys.exit(f"{method} {path}: {json.load(refusal)['message']}")


def start(session, file):
    """Creates a job of the file, uploads the file, runs the job, and gives its id."""
    job = session.call("POST", "/v1/customer/jobs", {
        "templateId": "hello-world-template",
        "name": "example for Python",
        "dataSource": {"dataSourceDescriptor": "file"},
        "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"app": {"case": "title"}},
    })["job"]
    with open(file, "rb") as content:
        # The link is signed and needs no token.
        send("PUT", job["dataSource"]["params"]["tempUrl"], content.read())
    session.call("PATCH", f"/v1/customer/jobs/{job['id']}/uploadcompleted", {})
    session.call("POST", f"/v1/customer/jobs/{job['id']}/run", {})
    return job["id"]


def wait(session, job):
    """Waits for the end of a job and gives it."""
    while True:
        status = session.call("GET", f"/v1/customer/jobs/{job}")["job"]
        print(f"job {job}: {status['state']}", file=sys.stderr)
        if status["state"] == "JOB_STATE_COMPLETE":
            return status
        if status["state"] == "JOB_STATE_FAILED":
            sys.exit(status["errorMessage"])
        time.sleep(1)


def main():
    if not KEY or len(sys.argv) != 2:
        sys.exit("set FANFOLD_URL and FANFOLD_API_KEY, then: bytenite.py FILE")
    session = Session(KEY)
    job = start(session, sys.argv[1])
    print(f"it cost {wait(session, job)['paymentAmount']:f} credits", file=sys.stderr)
    for result in session.call("GET", f"/v1/customer/jobs/{job}/results")["results"]:
        # Links need no token; they are valid for 48 hours.
        sys.stdout.buffer.write(send("GET", result["link"]))


if __name__ == "__main__":
    main()
