"""A customer's client of ejjy's jobs, written from its published page "Jobs" and from nothing else.

    python3 ejjy_client.py URL KEY WORKSPACE PROJECT IMAGE

The page names neither paths nor the fields of `data`. What it says in words is checked; the rest is printed.
"""

import json
import sys
import uuid
from datetime import datetime, timedelta, timezone

from customer import Api, Report, eventually, parse_time

STATES = {"pending", "running", "succeeded", "failed", "cancelled"}
FINAL = {"succeeded", "failed", "cancelled"}

report = Report()
api = Api(*sys.argv[1:3])
workspace, project, image = sys.argv[3:6]
jobs = f"/workspaces/{workspace}/projects/{project}/jobs"


def shell(script):
    return ["sh", "-c", script]


def spec(script, **more):
    return {"image": image, "name": f"job-{uuid.uuid4().hex[:8]}", "command": shell(script), **more}


def envelope(answer, what, success=True):
    """Each answer has `message` and `status`, and says in `data` what was asked for."""
    body = answer.json
    if not report.check(isinstance(body, dict), f"{what}: no JSON object", answer):
        return None
    report.check(isinstance(body.get("message"), str) and body["message"], f"{what}: message is no text", answer)
    report.check("status" in body, f"{what}: no status", answer)
    report.check(set(body) <= {"data", "message", "status"}, f"{what}: other fields than data, message, status", answer)
    if success:
        report.check(answer.status in (200, 201, 202), f"{what}: is refused", answer)
    else:
        report.check(400 <= answer.status < 500, f"{what}: is accepted", answer)
        print("refused", answer)
    return body.get("data")


def call(what, method, path, body=None, **more):
    answer = api.call(method, path, body, **more)
    data = envelope(answer, what)
    print(what + ":", answer)
    return data if data is not None else {}


def refused(what, method, path, body=None, **more):
    envelope(api.call(method, path, body, **more), what, success=False)


def listed(data, *names):
    """The list of an answer, which stands in `data` itself or under a name in it."""
    if isinstance(data, list):
        return data
    for name in names:
        if isinstance(data.get(name), list):
            return data[name]
    report.check(False, f"no list in {json.dumps(data)[:200]}")
    return []


def create(body):
    data = call("create", "POST", jobs, body)
    job = data.get("job", data)
    report.check(isinstance(job.get("id"), str), f"create: no id in {data}")
    return job


def ended(path):
    """Polls a run to its end; the states come in their order."""
    seen = []

    def final():
        data = api.call("GET", path).json.get("data") or {}
        run = data.get("run", data)
        if not seen or seen[-1] != run.get("status"):
            seen.append(run.get("status"))
        return run.get("status") in FINAL and run

    run = eventually(final, 90)
    report.check(set(seen) <= STATES, f"a state that is none of the five: {seen}")
    order = [("pending", "running").index(state) if state in ("pending", "running") else 2 for state in seen]
    report.check(order == sorted(order), f"states in another order: {seen}")
    report.check(run, f"the run does not end: {seen}")
    return run or {}


def trigger(job):
    path = f"{jobs}/{job.get('id')}/runs"
    data = call("trigger", "POST", path)
    run = data.get("run", data)
    report.equal(run.get("status"), "pending", "the state of a run that was triggered", run)
    return run, f"{path}/{run.get('id')}"


def a_job_and_its_runs():
    body = spec("echo one; echo two >&2; sleep 2", tags=["nightly", "eu"])
    job = create(body)
    path = f"{jobs}/{job.get('id')}"
    data = call("get", "GET", path)
    read = data.get("job", data)
    for field in ("name", "image", "command", "tags"):
        report.equal(read.get(field), body[field], f"get: {field}")
    report.check(not read.get("schedule"), f"a schedule that was not given: {read}")
    report.check(any("env" in name for name in read), f"get: no env vars in {sorted(read)}")

    data = call("list", "GET", jobs)
    report.check(job.get("id") in [one.get("id") for one in listed(data, "jobs", "items")], "list: the job is not there")

    data = call("status before a run", "GET", path + "/status")
    first, first_path = trigger(job)
    run = ended(first_path)
    print("run:", json.dumps(run))
    report.equal(run.get("status"), "succeeded", "the end of the run", run)
    report.equal(run.get("exit_code"), 0, "its exit code", run)
    report.check("error_message" in run or "error" in run, f"a run has no error message: {sorted(run)}")
    times = [parse_time(value) for key, value in run.items() if key.endswith("_at")]
    report.check(len([at for at in times if at]) >= 2, f"a run has no timing: {run}")

    logs = call("run logs", "GET", first_path + "/logs")
    report.check("one" in json.dumps(logs) and "two" in json.dumps(logs), "run logs: lines are missing")
    failing = create(spec("echo sad; exit 7"))
    run = ended(trigger(failing)[1])
    print("run:", json.dumps(run))
    report.equal((run.get("status"), run.get("exit_code")), ("failed", 7), "the end of a run that fails", run)

    second, _ = trigger(job)
    ended(f"{path}/runs/{second.get('id')}")
    ids = [run.get("id") for run in listed(call("runs", "GET", path + "/runs"), "runs", "items")]
    report.equal(ids, [second.get("id"), first.get("id")], "the runs, newest first")
    data = call("status", "GET", path + "/status")
    report.check(second.get("id") in json.dumps(data), "status: the newest run is not there")
    return job, path, first_path


def logs(path, first_path):
    """Logs of all runs, in a window, with a limit and a filter."""
    now = datetime.now(timezone.utc)
    hour = {"start": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(minutes=1)).isoformat()}
    text = lambda data: json.dumps(data)
    report.check(text(call("job logs", "GET", path + "/logs")).count('"one"') >= 1, "job logs: no lines")
    report.check("two" not in text(call("filter", "GET", path + "/logs", query={"filter": "one"})), "filter: other lines")
    call("limit", "GET", path + "/logs", query={"limit": 1})
    for since in ("1h", "3600"):
        print("since:", api.call("GET", path + "/logs", query={"since": since}))
    report.check("one" in text(call("window", "GET", path + "/logs", query=hour)), "window: no lines")
    old = {"start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z"}
    report.check("one" not in text(call("old window", "GET", path + "/logs", query=old)), "old window: lines of now")
    call("run limit", "GET", first_path + "/logs", query={"limit": 1, "filter": "two"})
    for query in ({"limit": "x"}, {"limit": -1}, {"since": "x"}, {"start": "yesterday"}):
        refused(f"logs {query}", "GET", path + "/logs", query=query)


def metrics(path):
    eventually(lambda: "[]" not in (api.call("GET", path + "/metrics").text), 5)
    data = call("metrics", "GET", path + "/metrics", query={"names": "cpu_usage,memory_usage", "since": "3600"})
    for name in ("cpu_usage", "memory_usage"):
        report.check(name in json.dumps(data), f"metrics: no {name}")
    call("one metric", "GET", path + "/metrics", query={"names": "cpu_usage"})
    call("no names", "GET", path + "/metrics")
    answer = api.call("GET", path + "/metrics", query={"names": "cpu_usage,disk"})
    print("a metric that is none:", answer)
    report.check(answer.status < 400, "one metric that is none fails the whole request", answer)


def updates(job, path):
    """Fields that are left out stay as they are."""
    before = call("get", "GET", path)
    name = f"renamed-{uuid.uuid4().hex[:6]}"
    answer = api.call("PATCH", path, {"name": name})
    print("update:", answer)
    method = "PATCH" if answer.status < 400 else "PUT"
    put = api.call("PUT", path, {"name": name})
    print("update, PUT:", put)
    after = call("get", "GET", path)
    before, after = before.get("job", before), after.get("job", after)
    report.equal(after.get("name"), name, "update: name")
    for field in ("image", "command", "tags", "schedule"):
        report.equal(after.get(field), before.get(field), f"update: {field}, which was left out")
    call("update the command", method, path, {"command": shell("echo three")})
    call("update the tags", method, path, {"tags": ["x"]})
    _, run_path = trigger(job)
    ended(run_path)
    report.check("three" in json.dumps(call("logs", "GET", run_path + "/logs")), "the change does not count for the next run")
    call("update the schedule", method, path, {"schedule": "0 12 * * *"})
    data = call("status", "GET", path + "/status")
    report.check("0 12 * * *" in json.dumps(data), "status: no cron expression")
    report.check(any(parse_time(value) and parse_time(value).hour == 12 for value in flat(data)), "status: no next time at 12:00")
    for value in (None, ""):
        print("schedule", repr(value), api.call(method, path, {"schedule": value}))
    print("status:", api.call("GET", path + "/status"))
    refused("update to a schedule that is none", method, path, {"schedule": "x"})
    refused("update of an unknown field", method, path, {"colour": "red"})
    refused("update of the image to nothing", method, path, {"image": ""})


def flat(data):
    if isinstance(data, dict):
        return [one for value in data.values() for one in flat(value)]
    if isinstance(data, list):
        return [one for value in data for one in flat(value)]
    return [data]


def cancel():
    job = create(spec("echo begun; sleep 300"))
    run, path = trigger(job)
    eventually(lambda: "running" in api.call("GET", path).text)
    tried = [("POST", path + "/cancel"), ("DELETE", path)]
    for method, at in tried:
        answer = api.call(method, at)
        print("cancel:", answer)
        if answer.status < 400:
            report.check("data" in answer.json, "cancel: no data", answer)
            break
    report.equal(ended(path).get("status"), "cancelled", "the state of a run that was cancelled")
    refused("cancel twice", method, at)
    run, path = trigger(job)
    print("cancel at once:", api.call(method, at.replace(at.split("/runs/")[1].split("/")[0], run.get("id", ""))))
    ended(path)


def deletion():
    job = create(spec("sleep 300", schedule="* * * * *"))
    path = f"{jobs}/{job.get('id')}"
    run, run_path = trigger(job)
    eventually(lambda: "running" in api.call("GET", run_path).text)
    answer = api.call("DELETE", path)
    envelope(answer, "delete")
    print("delete:", answer)
    report.check("data" in (answer.json or {}), "delete: no data", answer)
    for at in (path, run_path, path + "/runs", path + "/logs", path + "/metrics", path + "/status"):
        refused("deleted", "GET", at)
    refused("delete twice", "DELETE", path)
    refused("trigger deleted", "POST", path + "/runs")


def refusals(path, first_path):
    whole = spec("true")
    for field in ("image", "name"):
        refused(f"no {field}", "POST", jobs, {key: value for key, value in whole.items() if key != field})
        refused(f"{field} empty", "POST", jobs, {**whole, field: ""})
        refused(f"{field} a number", "POST", jobs, {**whole, field: 7})
    refused("a schedule that is none", "POST", jobs, {**whole, "schedule": "x"})
    refused("a schedule with seconds", "POST", jobs, {**whole, "schedule": "* * * * * *"})
    refused("a command of numbers", "POST", jobs, {**whole, "command": [1]})
    refused("an image that is none", "POST", jobs, {**whole, "image": "not an image!"})
    refused("tags of numbers", "POST", jobs, {**whole, "tags": [1]})
    refused("no JSON", "POST", jobs, raw=b"{")
    refused("a list", "POST", jobs, [whole])
    for bad in ("x", "7", str(uuid.uuid4())):
        refused("wrong job", "GET", f"{jobs}/{bad}")
        refused("wrong run", "GET", f"{path}/runs/{bad}")
        refused("wrong workspace", "GET", jobs.replace(workspace, bad))
        elsewhere = jobs.replace("/projects/" + project, "/projects/" + bad)
        refused("wrong project", "GET", f"{elsewhere}/{path.rsplit('/', 1)[1]}")
    for key in ("", "wrong"):
        answer = api.call("GET", jobs, key=key)
        report.equal(answer.status, 401, f"the status with the key {key!r}", answer)
        envelope(answer, "wrong key", success=False)
    answer = api.call("POST", jobs, {**whole, "command": "echo one two"})
    print("a command as a text:", answer)
    print("without a command:", api.call("POST", jobs, {"image": image, "name": whole["name"] + "b"}))
    print("tags as an object:", api.call("POST", jobs, {**whole, "name": whole["name"] + "c", "tags": {"a": "b"}}))
    print("the same name:", [api.call("POST", jobs, {**whole, "name": "same"}).status for _ in "12"])
    print("an image that is not there:", missing := api.call("POST", jobs, {**whole, "name": "gone", "image": "nobody/nothing:1"}))
    if missing.status < 400:
        run = api.call("POST", f"{jobs}/{missing.json['data'].get('id')}/runs")
        print("its run:", run)
        report.check((run.json or {}).get("message"), "nothing says that the image is not there", run)


print("# jobs and runs")
job, path, first_path = a_job_and_its_runs()
for part, arguments in (
    (logs, (path, first_path)),
    (metrics, (path,)),
    (updates, (job, path)),
    (refusals, (path, first_path)),
    (cancel, ()),
    (deletion, ()),
):
    print("#", part.__name__)
    part(*arguments)
sys.exit(report.end())
