#!/usr/bin/env python3
"""A customer of 2025, from the API key to the deleted job, as the published guides went."""

import csv
import http.server
import json
import threading
import uuid
from decimal import Decimal

import events
import packages
import wire
from shapes import (
    APP, BALANCE, ENGINE, ENGINE_MESSAGE, GENERIC, JOB_RESPONSE, LOG, PAGINATION, RESULT,
    RPC_STATUS, STATES, TEMPLATE, TRANSACTION, compare, is_int, is_uuid, moment,
)
from wire import CUSTOMER, DEV, WALLET, Session, answered, check, need, run, until

MARK = uuid.uuid4().hex[:8]
APP_NAME, FANOUT, FOLD = f"shout-{MARK}", f"fanout_replica-{MARK}", f"fold-{MARK}"
TEMPLATE_ID = f"shout-template-{MARK}"
JOB_NAME = f"a stranger's job {MARK}"
SOURCE = b"read me\n" * 3

me = Session()
seen = {}


def shaped(claim, value, shape):
    wrong = compare(value, shape)
    return check(claim, not wrong, f"{'; '.join(wrong)}\n     in {me.last}")


def generic_ok(claim, answer):
    body = answered(claim, answer)
    shaped(f"{claim}: a GenericResponse (1.0)", body, GENERIC)
    check(f"{claim}: ok is true and error null", body.get("ok") is True and not body.get("error"), answer)


def token():
    """The access token (1.2)"""
    session, answer = wire.sign_in()
    me.token = session.token
    shaped_token = {"token": "filled", "expiresIn": "digits", "scope": "text"}
    wrong = compare(answer.body, shaped_token)
    check("the token's fields are texts", not wrong, f"{wrong} {answer}")
    check("expiresIn is \"3600\"", answer.body["expiresIn"] == "3600", answer)
    answered("the raw token is accepted", me.get(f"{CUSTOMER}/jobs"))
    bearer = Session("Bearer " + me.token)
    answered("the token with Bearer before it is accepted (9)", bearer.get(f"{CUSTOMER}/jobs"))


def push_app():
    """Pushing the app with its template (1.3, 3)"""
    template = {
        "id": TEMPLATE_ID, "description": "words, loudly", "app": APP_NAME,
        "partitioner": FANOUT, "assembler": FOLD,
        "params": {"partitioner": {"num_replicas": 2}, "app": {"word": "default"}, "assembler": {}},
        "config": {"taskTimeout": 3600, "jobTimeout": "7200", "maxTaskRetries": 1},
    }
    manifest = packages.app_manifest(APP_NAME, platformConfig={
        "container": wire.IMAGE, "privateImage": False},
        deviceRequirements={"minCpu": 1, "minMemory": 1})
    data = packages.package(manifest, packages.APP, template)
    app = answered("POST /apps", me.post(f"{DEV}/apps", {"data": data}))
    shaped("POST /apps answers an App", app, APP)
    app = answered("GET /apps/{tag}", me.get(f"{DEV}/apps/{APP_NAME}@0"))
    shaped("the read app is wrapped in `app`", app, {"app": APP})
    check("a new app is inactive", app["app"]["status"] == "inactive", me.last)
    generic_ok("GET /apps/{tag}/status", me.get(f"{DEV}/apps/{APP_NAME}/status"))
    generic_ok("POST /apps/{tag}/activate", me.post(f"{DEV}/apps/{APP_NAME}/activate"))
    app = answered("GET /apps/{tag} again", me.get(f"{DEV}/apps/{APP_NAME}@0.1"))["app"]
    check("the app is active now", app["status"] == "active", me.last)
    generic_ok("GET /apps/{tag}/download", me.get(f"{DEV}/apps/{APP_NAME}/download"))
    generic_ok("POST /templates", me.post(f"{DEV}/templates", template))
    stored = answered("GET /templates/{id}", me.get(f"{DEV}/templates/{TEMPLATE_ID}"))
    shaped("the template is a JobTemplate", stored, TEMPLATE)
    listed = answered("GET /templates", me.get(f"{DEV}/templates", pagination__limit=100))
    shaped("templates are listed", listed, {"templates": [TEMPLATE]})
    check("ours is among them", TEMPLATE_ID in [t["id"] for t in listed["templates"]], me.last)


def push_engines():
    """Pushing a partitioner and an assembler (1.3, 3)"""
    partitioner = packages.manifest(FANOUT, type="partitioner")
    data = packages.package(partitioner, packages.PARTITIONER, folder=f"{FANOUT}/")
    engine = answered("POST /engines with the data in the query",
                      me.call("POST", f"{DEV}/engines", query={"engineData": data}))
    shaped("POST /engines answers an Engine", engine, ENGINE)
    assembler = packages.manifest(FOLD, type="assembler")
    data = packages.package(assembler, packages.ASSEMBLER, folder="./")
    engine = answered("POST /engines with the data in the body",
                      me.post(f"{DEV}/engines", {"engineData": data}))
    check("the engine says its type", engine["type"] == "assembler", me.last)
    for tag in (FANOUT, FOLD):
        message = answered("POST /engines/{tag}/activate", me.post(f"{DEV}/engines/{tag}/activate"))
        shaped("activate answers an EngineMessage", message, ENGINE_MESSAGE)
    engine = answered("GET /engines/{tag}", me.get(f"{DEV}/engines/{FOLD}"))
    shaped("the read engine is not wrapped", engine, ENGINE)
    check("the engine is active", engine["status"] == "active", me.last)
    for call in ("status", "download"):
        message = answered(f"GET /engines/{{tag}}/{call}", me.get(f"{DEV}/engines/{FOLD}/{call}"))
        shaped(f"{call} answers an EngineMessage", message, ENGINE_MESSAGE)
    for kind, shape in (("apps", APP), ("engines", ENGINE)):
        listed = answered(f"GET /{kind}", me.get(f"{DEV}/{kind}", pagination__limit=100))
        shaped(f"{kind} are listed", listed, {kind: [shape], "pagination": PAGINATION})


class Source(http.server.BaseHTTPRequestHandler):
    """A web server of the customer's."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(SOURCE)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(SOURCE)

    def log_message(self, *_):
        pass


def source():
    """The data source and its test (1.1 row 19, 4)"""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Source)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    seen["url"] = {"dataSourceDescriptor": "url", "params": {
        "@type": "type.googleapis.com/bytenite.data_source.HttpDataSource",
        "url": f"http://127.0.0.1:{server.server_address[1]}/texts/read_me.txt"}}
    body = {"dataSource": seen["url"], "listFiles": True}
    tested = answered("POST /datasource/test", me.post(f"{CUSTOMER}/datasource/test", body))
    directory = {"name": "text", "path": "text", "directories": "list",
                 "files": [{"id": "text", "name": "text", "path": "text", "size": "digits"}]}
    shaped("the source is described", tested, {
        "filename": "text", "path": "text", "size": "digits", "properties": "object",
        "tempUrl": "text", "files": directory})
    check("its size is known, as text", tested["size"] == str(len(SOURCE)), me.last)


def job_call(claim, answer):
    body = answered(claim, answer)
    shaped(f"{claim}: a JobResponse (1.1)", body, JOB_RESPONSE)
    return body["job"]


def create():
    """Creating with all four objects in one call (1.1 row 2)"""
    job = job_call("POST /jobs", me.post(f"{CUSTOMER}/jobs", {
        "templateId": TEMPLATE_ID, "name": JOB_NAME, "description": "all in one call",
        "dataSource": seen["url"], "dataDestination": {"dataSourceDescriptor": "bucket"},
        "params": {"partitioner": {"num_replicas": 3}, "app": {"word": "hey"}, "assembler": {"k": 1}},
        "config": {"taskTimeout": 600, "jobTimeout": 900, "isTestJob": True, "maxTaskRetries": 2}}))
    seen["id"] = job["id"]
    check("a new job is a draft", job["state"] == STATES[0], me.last)
    check("config comes back as numbers", job["config"] == {
        "taskTimeout": 600, "jobTimeout": 900, "isTestJob": True, "maxTaskRetries": 2}, me.last)
    check("only NEW has a time", list(job["stateTimestamps"]) == STATES[:1], me.last)
    check("params come back as sent", job["params"]["partitioner"] == {"num_replicas": 3}, me.last)
    check("the source comes back", job["dataSource"]["dataSourceDescriptor"] == "url", me.last)
    url = seen["url"]["params"]["url"]
    check("with its @type and url", job["dataSource"]["params"].get("url") == url
          and job["dataSource"]["params"].get("@type") == seen["url"]["params"]["@type"], me.last)
    check("priority is undefined", job["priority"] == "EXECUTION_PRIORITY_UNDEFINED", me.last)


def change():
    """Changing the draft by PATCHes (1.1 rows 7 to 10)"""
    job = f"{CUSTOMER}/jobs/{seen['id']}"
    new = job_call("PATCH jobname with a bare string", me.patch(f"{job}/jobname", JOB_NAME + "!"))
    check("the name is new", new["name"] == JOB_NAME + "!", me.last)
    new = job_call("PATCH configs", me.patch(f"{job}/configs", {
        "taskTimeout": "300", "jobTimeout": 400, "isTestJob": False, "maxTaskRetries": 0}))
    check("a timeout sent as text comes back as a number", new["config"]["taskTimeout"] == 300, me.last)
    new = job_call("PATCH datasource", me.patch(f"{job}/datasource", {
        "dataSource": seen["url"], "dataDestination": {"dataSourceDescriptor": "bucket", "params": {}}}))
    check("the destination is set", new["dataDestination"]["dataSourceDescriptor"] == "bucket", me.last)
    new = job_call("PATCH params", me.patch(f"{job}/params", {
        "partitioner": {"num_replicas": 4}, "app": {"word": "hey", "secs": 2}, "assembler": {"k": 2}}))
    check("the params are new", new["params"]["app"] == {"word": "hey", "secs": 2}, me.last)
    body = {"jobId": seen["id"], "templateId": TEMPLATE_ID, "description": "changed by its id"}
    new = job_call("POST /jobs with the id of a draft", me.post(f"{CUSTOMER}/jobs", body))
    check("changes the draft", new["id"] == seen["id"] and new["description"] == body["description"], me.last)
    check("and what it does not name stays", new["params"]["app"].get("secs") == 2, me.last)


def execute():
    """Running with {"config": ...} and watching (1.1 rows 11, 6, 14, 21; 2.2)"""
    job = f"{CUSTOMER}/jobs/{seen['id']}"
    seen["before"] = balance()
    early = me.get(f"{job}/results")
    check("results of a draft: 400 (9)", early.status == 400, early)
    shaped("with an rpcStatus", early.body, RPC_STATUS)
    check("code 9, \"job has not yet been completed\"", early.body["code"] == 9
          and "job has not yet been completed" in early.body["message"], early)
    seen["lines"] = events.Listener(me, {})
    seen["sse"] = events.Listener(me, {"Accept": "text/event-stream"})
    generic_ok("POST run with config", me.post(f"{job}/run", {"config": {"taskTimeout": 200}}))
    states, most = watch(job)
    check("states only move forward", states == sorted(states, key=STATES.index), states)
    check("tasks of the job were counted while they ran", most >= 1, me.last)
    done = job_call("GET the finished job", me.get(job))
    need("the job is complete", done["state"] == "JOB_STATE_COMPLETE", me.last)
    check("run's config is merged over the job's", done["config"]["taskTimeout"] == 200
          and done["config"]["jobTimeout"] == 400, me.last)
    seen["job"] = done


def watch(job):
    """The states that a job was seen in, and the highest count of its running tasks."""
    states, counts = [], [0]

    def look():
        state = answered_quietly(me.get(job))["job"]["state"]
        if state not in states:
            states.append(state)
            early = me.get(f"{job}/results")
            if state not in STATES[-2:] and early.status == 200:
                state = answered_quietly(me.get(job))["job"]["state"]
                check("no results before the end", state in STATES[-2:], early)
        running = answered_quietly(me.post(f"{CUSTOMER}/jobs/runningTasks", {"jobsIds": [seen["id"]]}))
        count = running["jobsRunningTasks"].get(seen["id"], 0)
        if not is_int(count):
            check("a running-task count is a number (1.1 row 14)", False, me.last)
        counts.append(int(count))
        return True if state in STATES[-2:] else None

    until("the job ends", look)
    return states, max(counts)


def answered_quietly(answer):
    if answer.status != 200:
        need("an answer while the job runs", False, answer)
    return answer.body


def finished():
    """The finished job (2.1, 2.2)"""
    job = seen["job"]
    stamps = job["stateTimestamps"]
    check("each of the ten states has its time", set(stamps) == set(STATES[:-1]), stamps)
    times = [moment(stamps[state]) for state in STATES if state in stamps]
    check("the times are in order", times == sorted(times), stamps)
    check("four replicas of one file: four chunks", job["numChunks"] == 4, job)
    check("submitted, started and ended are set",
          all(job[key] for key in ("submittedAt", "startedAt", "endedAt")), job)
    check("duration is in seconds", 2 <= job["duration"] < wire.WAIT_SECS, job["duration"])
    check("no error is told", job["errorMessage"] == "", job)
    check("numUnitsEstimation is a number as text", job["numUnitsEstimation"].isdigit(), job)
    check("the app is named", bool(job["appId"]), job)


def results():
    """Results and their links (1.1 row 6)"""
    body = answered("GET results", me.get(f"{CUSTOMER}/jobs/{seen['id']}/results"))
    shaped("results have names and links", body, {"results": [RESULT]})
    names = sorted(result["name"] for result in body["results"])
    check("both files of the assembler are there", names == ["params.json", "report.txt"], me.last)
    files = {}
    for result in body["results"]:
        answer = Session().call("GET", result["link"])
        need(f"the link of {result['name']} needs no token", answer.status == 200, answer)
        files[result["name"]] = answer.raw.decode()
    report = [line for line in files["report.txt"].splitlines() if line]
    named = [line for line in report if line.startswith("file=")]
    check("results named alike reach the assembler under names of their own",
          len(set(named)) == 4, report)
    chunks = [line.split()[0] for line in report if line.startswith("chunk=")]
    check("names sort by chunk, numbered from 0", chunks == [f"chunk={n}" for n in range(4)], report)
    check("the chunk is the source", all(f"bytes={len(SOURCE)}" in line for line in report
                                        if line.startswith("chunk=")), report)
    check("params reach the assembler", json.loads(files["params.json"]) == {"k": 2}, files)


def logs():
    """Logs: all, by task, by level, by service (1.1 row 20)"""
    def ask(**more):
        body = answered(f"POST /logs {more}", me.post(f"{CUSTOMER}/logs", {"jobId": seen["id"], **more}))
        shaped("a LogsResponse", body, {"partitioner": [LOG], "assembler": [LOG], "taskrunner": "object"})
        for task in body["taskrunner"].values():
            shaped("a task's logs", task, {"logs": [LOG]})
        return body
    everything = ask(taskIds=[], levels=[], services=[])
    tasks = everything["taskrunner"]
    check("each of the four tasks has logs", len(tasks) == 4, me.last)
    check("they are named by the tasks' ids, which are UUIDs (1.0)", all(map(is_uuid, tasks)), list(tasks))
    lines = [line["log"] for task in tasks.values() for line in task["logs"]]
    check("stdout and stderr are there", all(
        any(f"chunk {n} on {out}" in line for line in lines)
        for n in range(4) for out in ("stdout", "stderr")), lines)
    said = [line["log"] for line in everything["partitioner"]]
    check("the partitioner's are there", any("made 4 chunks" in line for line in said), said)
    one = next(iter(tasks), "")
    check("by task: only that", list(ask(taskIds=[one])["taskrunner"]) == [one], me.last)
    for level in ("UNKNOWN", "INFO"):
        task_lines = [line for task in ask(levels=[level])["taskrunner"].values() for line in task["logs"]]
        check(f"by level: {level} lines, and only those (3.5)",
              task_lines and all(line["level"] == level for line in task_lines), me.last)
    only = ask(services=["PARTITIONER"])
    check("by service: only the partitioner's",
          only["partitioner"] and not only["taskrunner"] and not only["assembler"], me.last)


def told():
    """The events of the job (1.1 row 21, 9)"""
    for name in ("lines", "sse"):
        listener = seen[name]
        until(f"{name}: the end of the job is told", lambda: listener.ended(seen["id"]))
        wrong = [line for line in listener.heard if compare(line, events.EVENT)]
        check(f"{name}: each event is {{result: {{event, data}}}}", not wrong, wrong[:2])
        kinds = {line["result"]["event"] for line in listener.about(seen["id"])}
        for kind in ("job.state", "task.state", "task.log"):
            check(f"{name}: {kind} is told", kind in kinds, f"{kinds} {listener.heard[:3]}")


def balance():
    body = answered("GET /balance", me.get(f"{WALLET}/balance"))
    shaped("a balance has the documented shape", body, BALANCE)
    return body


def paid():
    """What it cost (1.4, 6.1)"""
    price = Decimal(seen["job"]["paymentAmount"])
    after = balance()
    check("a finished job has its price", price > 0, seen["job"])
    check("the price has at most 8 decimals", price == round(price, 8), price)
    spent = Decimal(seen["before"]["totalBalance"]) - Decimal(after["totalBalance"])
    check("the wallet paid the price to the last digit", spent == price, f"{spent} != {price}")
    check("nothing stays reserved", after["availableBalance"] == after["totalBalance"], after)
    body = answered("GET /transactions", me.get(f"{WALLET}/transactions", pagination__limit=50))
    shaped("transactions are listed", body, {"pagination": PAGINATION, "data": [TRANSACTION]})
    ours = [one for one in body["data"] if seen["id"] in json.dumps(one, default=str)]
    need("one debit for the job", len(ours) == 1, body)
    check("of type payment", ours[0]["transactionType"] == "payment", ours)
    check("over the price", abs(Decimal(ours[0]["amount"])) == price, ours)
    check("with the balance after it", Decimal(ours[0]["balance"]) == Decimal(after["totalBalance"]), ours)
    data = ours[0]["relatedEntityData"] or {}
    check("with the job's name, id and template", data.get("jobName") == JOB_NAME + "!"
          and data.get("jobId") == seen["id"] and data.get("jobTemplate") == TEMPLATE_ID, ours)
    sheet = answered("GET /transactions/csv", me.get(f"{WALLET}/transactions/csv"))
    check("the sheet is a text with our job", JOB_NAME in sheet["csv"], me.last)
    plain = me.call("GET", f"{WALLET}/transactions/csv", headers={"Accept": "text/csv"})
    rows = list(csv.DictReader(plain.raw.decode().splitlines()))
    check("as text/csv where that is accepted", plain.headers["Content-Type"].startswith("text/csv"), plain)
    debit = [row for row in rows if row["jobId"] == seen["id"]]
    need("with one line for the job", len(debit) == 1, plain)
    check("to the last digit", -Decimal(debit[0]["amount"]) == price, debit)
    failed = answered("jobs by status", me.get(f"{CUSTOMER}/jobs", status="succeeded"))
    check("ours is among those that have succeeded", seen["id"] in [one["id"] for one in failed["data"]], failed)
    none = answered("jobs by state", me.get(f"{CUSTOMER}/jobs", state="JOB_STATE_FAILED"))
    check("and not among the failed", seen["id"] not in [one["id"] for one in none["data"]], none)


def delete():
    """Deleting the job (1.1 row 13)"""
    generic_ok("DELETE /jobs/{id}", me.delete(f"{CUSTOMER}/jobs/{seen['id']}"))
    answer = me.get(f"{CUSTOMER}/jobs/{seen['id']}")
    gone = answer.status == 404 or answer.body["job"]["deletedAt"] is not None
    check("a deleted job is gone or says when it was deleted", gone, answer)


if __name__ == "__main__":
    run(token, push_app, push_engines, source, create, change, execute, finished,
        results, logs, told, paid, delete)
