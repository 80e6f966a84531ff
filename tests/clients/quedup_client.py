"""A customer's client of QuedUp, written from its published page "Create Job" and from nothing else.

    python3 quedup_client.py URL KEY
"""

import sys
import uuid
from datetime import datetime, timezone

from customer import Api, Receiver, Report, eventually, in_seconds, parse_time

FIELDS = {"body", "headers", "id", "method", "name", "next_run_at", "schedule", "status", "url"}
STATUSES = {"active", "paused", "failed", "completed"}
FAR = "2097-11-07T05:31:56Z"

report = Report()
receiver = Receiver()
api = Api(sys.argv[1], sys.argv[2])


def name(what):
    return f"{what} {uuid.uuid4().hex[:8]}"


def request(what, path="/", **more):
    return {"method": "POST", "name": name(what), "url": receiver.url + path, **more}


def is_job(job, answer):
    """The schema "Job": nine fields, of which two may be null."""
    if not report.check(isinstance(job, dict), "the job is no object", answer):
        return
    report.equal(set(job), FIELDS, "the set of fields", answer)
    for field in ("body", "id", "method", "name", "status", "url"):
        report.check(isinstance(job.get(field), str), f"{field} is no string", answer)
    report.check(isinstance(job.get("headers"), dict), "headers is no object", answer)
    values = (job.get("headers") or {}).values()
    report.check(all(isinstance(value, str) for value in values), "a header is no string", answer)
    report.check(str(job.get("id")).startswith("job_"), "the id is not like job_xxx", answer)
    report.check(job.get("status") in STATUSES, "status is none of the four", answer)
    report.check(job.get("schedule") is None or isinstance(job["schedule"], str), "schedule is neither string nor null", answer)
    at = job.get("next_run_at")
    report.check(at is None or parse_time(at), "next_run_at is neither a date-time nor null", answer)


def create(body):
    answer = api.call("POST", "/jobs", body)
    report.equal(answer.status, 200, "the status of Create Job (OK)", answer)
    if not str(answer.headers.get("Content-Type", "")).startswith("application/json"):
        report.check(False, "the answer is not application/json", answer)
    job = answer.json or {}
    is_job(job, answer)
    for field in ("method", "name", "url"):
        report.equal(job.get(field), body[field], field, answer)
    report.equal(job.get("body"), body.get("body") or "", "body", answer)
    report.equal(job.get("headers"), body.get("headers") or {}, "headers", answer)
    report.equal(job.get("schedule"), body.get("schedule"), "schedule", answer)
    return job, answer


def refused(body, why, raw=None):
    answer = api.call("POST", "/jobs", body, raw=raw)
    report.check(400 <= answer.status < 500, f"{why} is accepted", answer)
    report.check(answer.text.strip(), f"the refusal of {why} says nothing", answer)
    print("refused", answer)


def forms():
    """Each form of the request that the page describes."""
    cron, answer = create(request("cron", schedule="0 12 * * *"))
    at = parse_time(cron.get("next_run_at"))
    report.check(at and (at.hour, at.minute) == (12, 0) and at > datetime.now(timezone.utc), "the next run is not at 12:00", answer)
    report.equal(cron.get("status"), "active", "status", answer)

    once, answer = create(request("once", run_at=FAR))
    report.equal(parse_time(once.get("next_run_at")), parse_time(FAR), "next_run_at", answer)
    report.equal(once.get("status"), "active", "status", answer)

    both, answer = create(request("both", run_at=FAR, schedule="0 12 * * *"))
    report.check(parse_time(both.get("next_run_at")) and parse_time(both["next_run_at"]) < parse_time(FAR), "run_at wins over schedule", answer)

    odd = request("zone", run_at="2097-11-07T07:31:56.5+02:00")
    zone, answer = create(odd)
    got, wanted = parse_time(zone.get("next_run_at")), parse_time(odd["run_at"])
    report.check(got and abs((got - wanted).total_seconds()) < 1, "a time with a zone is another time", answer)

    create(request("ignored", run_at="tomorrow", schedule="0 12 * * *"))

    # All of the page's example at once, and all that may be null.
    create(request("example", body="<string>", headers={}, run_at=FAR, schedule="0 12 * * *"))
    create(request("nulls", body=None, run_at=None, schedule="*/5 * * * *"))
    create(request("headers", schedule="0 0 * * 0", headers={"X-One": "1", "Content-Type": "text/plain"}, body="ä\n"))
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        create({**request("method", run_at=FAR), "method": method})
    for pattern in ("* * * * *", "0-30/5 1,2 1 jan mon-fri", "0 0 29 2 *", "15 14 1 * *"):
        create(request("pattern", schedule=pattern))


def it_is_sent():
    """What is created is sent: once at its time, and by the clock."""
    wanted = request("sent", "/sent?a=1", run_at=in_seconds(2), body='{"a": "ä"}', headers={"X-Job": "seven", "Content-Type": "application/json"})
    job, _ = create(wanted)
    got = eventually(lambda: receiver.at("/sent?a=1"))
    if report.check(got, "nothing is sent at run_at"):
        method, _, headers, body = got[0]
        report.equal((method, body), ("POST", wanted["body"]), "the request that is sent")
        report.equal((headers["X-Job"], headers["Content-Type"]), ("seven", "application/json"), "its headers")
    # Requests other than "Create Job" are not on the page; a customer tries the usual ones.
    done = eventually(lambda: (read := api.call("GET", f"/jobs/{job.get('id')}")).json and read.json.get("status") != "active" and read)
    if report.check(done, "the job that ran once never ends"):
        is_job(done.json, done)
        report.equal(done.json.get("status"), "completed", "its status", done)
        report.equal(done.json.get("next_run_at"), None, "its next run", done)
    report.equal(len(receiver.at("/sent?a=1")), 1, "the number of times that it is sent")

    bare, _ = create(request("neither", "/neither"))
    got = eventually(lambda: receiver.at("/neither"), 5)
    print("neither schedule nor run_at:", bare, "sent" if got else "not sent in 5 s")

    past, _ = create(request("past", "/past", run_at="2023-11-07T05:31:56Z"))
    got = eventually(lambda: receiver.at("/past"), 5)
    print("run_at in the past:", past, "sent" if got else "not sent in 5 s")


def it_is_refused():
    """A receiver that refuses is no success; the page does not say how often it is asked again."""
    receiver.status = 400
    job, _ = create(request("refused", "/refused", run_at=in_seconds(1)))
    report.check(eventually(lambda: receiver.at("/refused")), "nothing is sent to a receiver that refuses")
    read = api.call("GET", f"/jobs/{job.get('id')}")
    report.check((read.json or {}).get("status") in ("active", "failed"), "its status is that of a success", read)
    receiver.status = 200


def refusals():
    whole = request("whole", run_at=FAR)
    for field in ("method", "name", "url"):
        refused({key: value for key, value in whole.items() if key != field}, f"no {field}")
        refused({**whole, field: None}, f"{field} null")
        refused({**whole, field: 7}, f"{field} as a number")
        refused({**whole, field: ""}, f"{field} empty")
    refused({**whole, "url": "not a url"}, "a url that is none")
    refused({**whole, "url": "ftp://example.com/"}, "a url of another scheme")
    refused({**whole, "method": "FLY AWAY"}, "a method that is none")
    refused({**whole, "schedule": "every day"}, "a schedule that is none")
    refused({**whole, "schedule": "61 * * * *"}, "a minute 61")
    refused({**whole, "schedule": "0 0 31 2 *"}, "a schedule that never comes")
    refused({**whole, "run_at": "tomorrow"}, "a run_at that is none")
    refused({**whole, "run_at": "2097-11-07"}, "a run_at without a time")
    refused({**whole, "run_at": "2097-11-07T05:31:56"}, "a run_at without a zone")
    refused({**whole, "body": {"a": 1}}, "a body that is no string")
    refused({**whole, "headers": ["a"]}, "headers that are no object")
    refused({**whole, "headers": {"a": 1}}, "a header that is no string")
    refused({**whole, "headers": {"a b": "1"}}, "a header's name that is none")
    refused({**whole, "headers": {"X-A": "a\r\nX-B: b"}}, "a header of two lines")
    refused(None, "no JSON", raw=b"{")
    refused(None, "an empty body", raw=b"")
    refused([whole], "a list")
    job, _ = create(whole)
    refused({**whole}, "a name that is taken")
    for key in ("", "wrong", "fanfold_" + "0" * 32):
        answer = api.call("POST", "/jobs", request("key", run_at=FAR), key=key)
        report.equal(answer.status, 401, f"the status with the key {key!r}", answer)
        print("refused", answer)


def not_on_the_page():
    """Requests that the page does not describe; what they answer is printed and, where it is a job, checked."""
    job, _ = create(request("read", run_at=FAR))
    path = f"/jobs/{job.get('id')}"
    read = api.call("GET", path)
    print("read:", read)
    if read.status == 200:
        report.equal(read.json, job, "the job that is read", read)
    for query in ({}, {"limit": 2}, {"limit": 2, "offset": 1}, {"page": 2, "limit": 2}, {"status": "completed"}, {"limit": 0}, {"limit": "x"}, {"status": "x"}):
        print("list:", api.call("GET", "/jobs", query=query))
    for method in ("PATCH", "PUT"):
        print("update:", api.call(method, path, {"name": name("renamed")}))
    print("update, whole:", api.call("PUT", path, request("whole", run_at=FAR)))
    for end in ("/runs", "/pause", "/resume", "/run", "/trigger"):
        print("get", end, api.call("GET", path + end))
    for end in ("/pause", "/resume", "/run", "/trigger", "/runs"):
        print("post", end, api.call("POST", path + end, {}))
    print("runs:", api.call("GET", "/runs"))
    print("delete:", api.call("DELETE", path))
    for method in ("GET", "DELETE"):
        gone = api.call(method, path)
        report.equal(gone.status, 404, "the status of a job that is deleted", gone)
        report.check(job.get("id", "") in gone.text, "the refusal names another id than was asked for", gone)
    for bad in ("job_xxx", "7", "%00", "job_" + "0" * 32):
        print("wrong id:", api.call("GET", f"/jobs/{bad}"))


for part in (forms, it_is_sent, it_is_refused, refusals, not_on_the_page):
    print("#", part.__name__)
    part()
sys.exit(report.end())
