#!/usr/bin/env python3
"""What customers of 2025 did in other words: other spellings, bodies, filters, failures, secrets."""

from decimal import Decimal

import wire
from catalogue import BUCKET, BYPASS, Catalogue
from shapes import JOB, PAGINATION, SECRET, TRANSACTION, compare
from wire import AUTH, CUSTOMER, WALLET, Session, answered, check, need, run

me = Session()
shop = Catalogue(me)
seen = {}


def prepare():
    """Packages and a template with defaults"""
    me.token = wire.sign_in()[0].token
    app = shop.app("shout")
    fanout, fold = shop.engine("fanout", "partitioner"), shop.engine("fold", "assembler")
    seen["template"] = shop.template("fan", app, fanout, fold, params={
        "partitioner": {"num_replicas": 2}, "app": {"word": "default"}, "assembler": {}},
        dataSource=BYPASS, dataDestination=BUCKET, config={"taskTimeout": 100, "maxTaskRetries": 0})
    seen["plain"] = shop.template("plain", app)
    seen["bare"] = shop.template("bare", app, fanout, fold, dataSource=BYPASS, dataDestination=BUCKET)


def snake_case():
    """A job in snake_case, numbers as texts; run with flat fields (1.0, 1.1)"""
    answer = me.post(f"{CUSTOMER}/jobs", {
        "template_id": seen["template"], "name": f"snake {shop.mark}", "data_source": BYPASS,
        "data_destination": BUCKET, "config": {"task_timeout": "600", "job_timeout": "900",
        "is_test_job": True, "max_task_retries": "3"},
        "params": {"app": {"word": "snake"}}})
    job = answered("POST /jobs in snake_case", answer)["job"]
    check("the config is understood", job["config"] == {
        "taskTimeout": 600, "jobTimeout": 900, "isTestJob": True, "maxTaskRetries": 3}, me.last)
    check("the template's params are defaults", job["params"]["partitioner"] == {"num_replicas": 2}
          and job["params"]["app"] == {"word": "snake"}, me.last)
    done = shop.finish(job, {"taskTimeout": "500"})
    need("it completes", done["state"] == "JOB_STATE_COMPLETE", done)
    check("the flat fields of run are merged over the config",
          done["config"]["taskTimeout"] == 500 and done["config"]["jobTimeout"] == 900, me.last)
    check("bypass gives one dummy file: two replicas, two chunks", done["numChunks"] == 2, done)
    check("the report says both", shop.files(job)["report.txt"].count(b"word=snake") == 2)
    seen["snake"] = done


def defaults():
    """A job of nothing but a template, run with an empty body (3.4)"""
    job = shop.create(seen["template"])
    check("source, destination, params and config come from the template",
          job["dataSource"]["dataSourceDescriptor"] == "bypass"
          and job["dataDestination"]["dataSourceDescriptor"] == "bucket"
          and job["params"]["app"] == {"word": "default"}
          and job["config"]["taskTimeout"] == 100, job)
    done = shop.finish(job)
    check("it completes", done["state"] == "JOB_STATE_COMPLETE", done)
    seen["default"] = done


def passthrough():
    """Passthrough on both sides, results of the same name, no destination (3.4, 4)"""
    job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET)
    done = shop.finish(job, {})
    need("without params, APP_PARAMS is {} and not empty", done["state"] == "JOB_STATE_COMPLETE", done)
    files = shop.files(job)
    check("the one chunk's file has its own name", list(files) == ["output.txt"], files)
    job = shop.create(seen["plain"], dataSource=BYPASS)
    done = shop.finish(job, {})
    check("no destination is the temporary bucket", done["state"] == "JOB_STATE_COMPLETE"
          and done["dataDestination"]["dataSourceDescriptor"] == "bucket", done)
    check("with the results", list(shop.files(job)) == ["output.txt"], job)
    job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BYPASS)
    done = shop.finish(job, {})
    check("bypass as destination", done["state"] == "JOB_STATE_COMPLETE", done)
    results = answered("its results are an empty list", me.get(f"{CUSTOMER}/jobs/{job['id']}/results"))
    check("indeed", results == {"results": []}, me.last)


def test_job():
    """A test job says that it works on two chunks, and how many there are (2.4)"""
    job = shop.create(seen["template"], params={"partitioner": {"num_replicas": 5}},
                      config={"isTestJob": True})
    told = shop.start(job)
    check("the run says so", "test job" in told["message"], told)
    done = shop.wait(job)
    check("two chunks", done["numChunks"] == 2, done)
    check("of five", done["numChunksTotal"] == 5 and "2 of its 5" in done["warning"], done)


def lenient():
    """Passthrough takes no notice of params that another template's partitioner has (3.4)"""
    job = shop.create(seen["plain"], dataSource=BYPASS, params={"partitioner": {"numImages": 20}})
    told = shop.start(job)
    check("but the run says so", "numImages" in told["message"], told)
    check("it completes", shop.wait(job)["state"] == "JOB_STATE_COMPLETE", me.last)


def digits():
    """Numbers reach the containers as they were written"""
    job = shop.create(seen["template"])
    given = b'{"assembler": {"big": 123456789012345678901234567890, "p": 3.14159265358979323846}}'
    answered("they are set", me.call("PATCH", f"{CUSTOMER}/jobs/{job['id']}/params", given))
    check("it completes", shop.finish(job)["state"] == "JOB_STATE_COMPLETE", me.last)
    seen_by_it = shop.files(job)["params.json"]
    check("to the last digit", b"123456789012345678901234567890" in seen_by_it
          and b"3.14159265358979323846" in seen_by_it, seen_by_it)


def failing():
    """A failing app: FAILED, an errorMessage, and what it used is paid (2.2, 6.1)"""
    before = Decimal(me.get(f"{WALLET}/balance").body["totalBalance"])
    job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET,
                      params={"app": {"word": "fail"}})
    done = shop.finish(job, {"config": {"maxTaskRetries": 1}})
    check("exit 3 fails the job", done["state"] == "JOB_STATE_FAILED", done)
    check("and it says why", done["errorMessage"] != "", done)
    check("when", "JOB_STATE_FAILED" in done["stateTimestamps"] and done["endedAt"], done)
    price = done["paymentAmount"]
    check("its price is what it used", 0 < price < Decimal("0.01"), done)
    after = me.get(f"{WALLET}/balance").body
    check("the wallet paid it and nothing more", Decimal(after["totalBalance"]) == before - price
          == Decimal(after["availableBalance"]), after)
    job = shop.create(seen["bare"], params={"partitioner": {"other": 1}})
    done = shop.finish(job)
    check("a partitioner that ends with 1 fails the job", done["state"] == "JOB_STATE_FAILED", done)
    logs = me.post(f"{CUSTOMER}/logs", {"jobId": job["id"], "services": ["PARTITIONER"]}).body
    check("its last words are in the logs",
          any("KeyError: num_replicas" in line["log"] for line in logs["partitioner"]), me.last)
    job = shop.create(seen["bare"], params={"partitioner": {"num_replicas": 0}})
    done = shop.finish(job)
    check("no chunks: FAILED, \"partitioner produced no chunks\" (3.5)", done["state"] == "JOB_STATE_FAILED"
          and "no chunks" in done["errorMessage"], done)


def timeouts():
    """Task and job timeouts (2.4, 3.5)"""
    for config in ({"taskTimeout": 1}, {"jobTimeout": 2}):
        job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET,
                          params={"app": {"secs": 60}})
        done = shop.finish(job, {"config": config})
        check(f"{config} ends a job that takes a minute", done["state"] == "JOB_STATE_FAILED"
              and done["duration"] < 40, done)


def abort():
    """Aborting (1.1 row 12, 9)"""
    job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET)
    answered("a draft is aborted", me.post(f"{CUSTOMER}/jobs/{job['id']}/abort"))
    answer = me.get(f"{CUSTOMER}/jobs/{job['id']}")
    check("that deletes it", answer.status == 404 or answer.body["job"]["deletedAt"], answer)
    job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET,
                      params={"app": {"secs": 60}})
    shop.start(job)
    shop.wait(job, ("JOB_STATE_PARTITIONED",))
    answered("a running job is aborted", me.post(f"{CUSTOMER}/jobs/{job['id']}/abort"))
    done = shop.wait(job)
    check("FAILED, \"aborted by user\"", done["state"] == "JOB_STATE_FAILED"
          and "aborted by user" in done["errorMessage"], done)


def wrapped(kind, value):
    return {"@type": f"type.googleapis.com/google.protobuf.{kind}", "value": value}


def found(field, condition, value, path=f"{CUSTOMER}/jobs/filter"):
    answer = me.post(path, {
        "pagination": {"limit": 100, "offset": "0"}, "orderBy": "createdAt desc",
        "filters": [{"field": field, "condition": "FILTER_CONDITION_" + condition, "value": value}]})
    body = answered(f"filter {field} {condition}", answer)
    return {one["id"] for one in body["data"]}


def filters():
    """The eleven conditions (1.0)"""
    snake, default = seen["snake"]["id"], seen["default"]["id"]
    name, created = seen["snake"]["name"], seen["default"]["createdAt"]
    text, number = (lambda v: wrapped("StringValue", v)), (lambda v: wrapped("Int64Value", v))
    many = lambda *values: wrapped("ListValue", list(values))
    stamp = wrapped("Timestamp", created)
    cases = [
        ("name", "EQ", text(name), {snake}, {default}),
        ("name", "NEQ", text(name), {default}, {snake}),
        ("createdAt", "GT", stamp, set(), {snake, default}),
        ("createdAt", "GTE", stamp, {default}, {snake}),
        ("createdAt", "LT", stamp, {snake}, {default}),
        ("createdAt", "LTE", stamp, {snake, default}, set()),
        ("numChunks", "GTE", number("2"), {snake, default}, set()),
        ("state", "IN", many("JOB_STATE_NEW", "JOB_STATE_COMPLETE"), {snake, default}, set()),
        ("state", "NOT_IN", many("JOB_STATE_COMPLETE"), set(), {snake, default}),
        ("name", "LIKE", text(f"snake%{shop.mark}"), {snake}, {default}),
        ("id", "EQ", text(snake), {snake}, {default}),
        ("templateId", "EQ", text(seen["template"]), {snake, default}, set()),
        ("regions.whitelist", "ARRAY_CONTAINS", text("nowhere"), set(), {snake, default}),
        ("regions.whitelist", "ARRAY_CONTAINS_ANY", many("nowhere"), set(), {snake, default}),
    ]
    for field, condition, value, within, without in cases:
        try:
            ids = found(field, condition, value)
        except wire.Stop:
            continue
        check(f"{field} {condition} finds what it should", within <= ids and not without & ids, me.last)


def pages():
    """Pages and order (1.0)"""
    first = answered("GET /jobs, one a page", me.get(f"{CUSTOMER}/jobs", pagination__limit=1))
    wrong = compare(first, {"pagination": PAGINATION, "data": [JOB]})
    check("a page has the documented shape", not wrong, f"{wrong} {me.last}")
    page = first["pagination"]
    check("there is a next and no previous", page["hasNext"] and not page["hasPrevious"]
          and page["offset"] == 0 and page["total"] >= 2 and len(first["data"]) == 1, me.last)
    last = answered("the last page", me.get(
        f"{CUSTOMER}/jobs", pagination__limit=1, pagination__offset=page["total"] - 1))
    check("there is a previous and no next", last["pagination"]["hasPrevious"]
          and not last["pagination"]["hasNext"] and len(last["data"]) == 1, me.last)
    for order in ("createdAt", "createdAt desc", "name asc"):
        data = answered(f"orderBy={order}", me.get(
            f"{CUSTOMER}/jobs", pagination__limit=50, orderBy=order))["data"]
        key, _, direction = order.partition(" ")
        values = [job[key] for job in data]
        check("is in that order", values == sorted(values, reverse=direction == "desc"), values)
    body = answered("transactions are filtered", me.post(f"{WALLET}/transactions/filter", {
        "pagination": {"limit": "5"}, "filters": [{"field": "transactionType", "value": wrapped(
            "StringValue", "payment"), "condition": "FILTER_CONDITION_EQ"}]}))
    wrong = compare(body, {"pagination": PAGINATION, "data": [TRANSACTION]})
    check("with the documented shape", not wrong, f"{wrong} {me.last}")
    check("all are payments", body["data"] and all(
        one["transactionType"] == "payment" for one in body["data"]), me.last)


def caches():
    """The shared cache and the user's (3.5)"""
    counts = []
    for _ in range(2):
        job = shop.create(seen["plain"], dataSource=BYPASS, dataDestination=BUCKET)
        shop.finish(job)
        output = shop.files(job)["output.txt"].decode()
        check("SHARED_CACHE_DIR is a folder to read only", "shared=read-only" in output, output)
        counts.append(output.split("user=")[1].split(".")[0])
        need("USER_CACHE_DIR is a folder to write to", counts[-1].isdigit(), output)
    check("what a job leaves there the next job finds", int(counts[1]) == int(counts[0]) + 1, counts)


def named_secrets():
    """Secrets: stored, listed, injected, deleted (1.2, 3.5)"""
    token, aws = f"TOKEN_{shop.mark}", f"AWS_{shop.mark}"
    for name, kind in ((token, "other"), (aws, "aws")):
        body = {"secret": {"id": name, "secretType": kind, "accessKey": "AK-" + shop.mark},
                "secretKey": "SK-" + shop.mark}
        answered(f"a secret of type {kind} is stored", me.post(f"{AUTH}/secrets", body))
    listed = answered("secrets are listed", me.get(f"{AUTH}/secrets", secretType="aws"))["secrets"]
    wrong = compare(listed, [SECRET])
    check("with the documented shape, only of that type", not wrong and listed and all(
        one["secretType"] == "aws" for one in listed), f"{wrong} {me.last}")
    check("a secret's key is never given", b"SK-" not in me.last.raw, me.last)
    app = shop.app("secretive", platformConfig={"secrets": [token, aws]})
    template = shop.template("secretive", app)
    job = shop.create(template, dataSource=BYPASS, dataDestination=BUCKET,
                      params={"app": {"env": f"{token} {aws}_ACCESS_KEY {aws}_SECRET_KEY"}})
    try:
        done = shop.finish(job)
        need("an app with secrets completes", done["state"] == "JOB_STATE_COMPLETE", done)
        output = shop.files(job)["output.txt"]
        check("other: X is the key; aws: X_ACCESS_KEY and X_SECRET_KEY",
              f"env=SK-{shop.mark} AK-{shop.mark} SK-{shop.mark}".encode() in output, output)
    except wire.Stop:
        pass
    answered("a secret is deleted", me.delete(f"{AUTH}/secrets/aws/{aws}"))
    listed = me.get(f"{AUTH}/secrets", secretType="aws").body["secrets"]
    check("it is gone", aws not in [one["id"] for one in listed], me.last)


if __name__ == "__main__":
    run(prepare, snake_case, defaults, passthrough, test_job, lenient, digits, failing, timeouts, abort, filters, pages,
        caches, named_secrets)
