#!/usr/bin/env python3
"""Every documented failure: its status, its body, and what must not have happened (1.0, 2, 9)."""

import uuid

import packages
import wire
from catalogue import BUCKET, BYPASS, Catalogue
from shapes import RPC_STATUS, compare
from wire import AUTH, CUSTOMER, DEV, WALLET, Session, answered, check, run

me = Session()
shop = Catalogue(me)
seen = {}
NOBODY = str(uuid.uuid4())
BAD, UNKNOWN, FORBIDDEN, MISSING = 400, 401, 403, 404
CODES = {BAD: (3, 9, 11, 6, 10), UNKNOWN: (16,), FORBIDDEN: (7,), MISSING: (5,)}


def refused(claim, answer, *statuses, word=""):
    """Checks that an answer is one of these errors, with an rpcStatus that names `word`."""
    check(claim, answer.status in statuses, answer)
    if answer.status < 400:
        return
    body = answer.body
    wrong = compare(body, RPC_STATUS)
    told = not wrong and body["code"] in CODES.get(answer.status, range(17))
    check(f"{claim}: an rpcStatus of that kind", told, f"{wrong} {answer}")
    if word:
        check(f"{claim}: it names {word}", word.lower() in str(body.get("message")).lower(), answer)


def prepare():
    """A template and a draft"""
    me.token = wire.sign_in()[0].token
    seen["app"] = shop.app("checked")
    seen["template"] = shop.template("checked", seen["app"])
    seen["draft"] = shop.create(seen["template"])["id"]


def job(path="", id=None):
    return f"{CUSTOMER}/jobs/{id or seen['draft']}{path}"


def unauthenticated():
    """401: who are you?"""
    calls = [
        ("GET", f"{CUSTOMER}/jobs"), ("POST", f"{CUSTOMER}/jobs"), ("GET", job()), ("DELETE", job()),
        ("POST", job("/run")), ("GET", job("/results")), ("POST", f"{CUSTOMER}/logs"),
        ("GET", f"{CUSTOMER}/events"), ("POST", f"{CUSTOMER}/datasource/test"),
        ("GET", f"{DEV}/apps"), ("POST", f"{DEV}/apps"), ("GET", f"{WALLET}/balance"),
        ("GET", f"{WALLET}/transactions"), ("GET", f"{AUTH}/secrets"), ("GET", f"{AUTH}/user"),
        ("GET", f"{AUTH}/api_keys"),
    ]
    payload = me.token.split(".")
    forged = ".".join([payload[0], payload[1], payload[2][:-8] + "AAAAAAAA"]) if len(payload) == 3 else "x"
    for method, path in calls:
        body = {} if method == "POST" else None
        refused(f"{method} {path[:40]} without a token", Session().call(method, path, body), UNKNOWN)
    for name, token in (("no token", "nonsense"), ("an empty one", ""), ("a forged one", forged),
                        ("Basic", "Basic eDp5"), ("Bearer without one", "Bearer")):
        refused(f"{name} in the header", Session(token).get(f"{CUSTOMER}/jobs"), UNKNOWN)
    check("the token is a JWT (1.0)", len(payload) == 3, me.token[:20])


def keys():
    """Wrong API keys"""
    for name, key in (("an unknown", "no-such-key"), ("a shortened", wire.API_KEY[:-1])):
        refused(f"{name} key", Session().post(f"{AUTH}/access_token", {"apiKey": key}), UNKNOWN)
    for name, body in (("no", {}), ("an empty", {"apiKey": ""}), ("a wrongly typed", {"apiKey": 5})):
        refused(f"{name} key", Session().post(f"{AUTH}/access_token", body), BAD, UNKNOWN)


def signing():
    """What only a code from an e-mail allows"""
    # Whoever has no e-mail address can be sent no code.
    mailed = answered("the user", me.get(f"{AUTH}/user"))["user"]["email"]
    guesses = [("without a code", {"name": "k", "duration": "3600"}),
               ("with a wrong one", {"name": "k", "code": "000000", "nonce": "n", "duration": "60"})]
    for name, body in guesses if mailed else []:
        answer = me.post(f"{AUTH}/api_key", body)
        refused(f"a new key {name}", answer, BAD, UNKNOWN, FORBIDDEN)
        if answer.status == 200:
            me.post(f"{AUTH}/api_keys/{answer.body['apiKey']['id']}/revoke")
    refused("a sign-up without an access code", Session().post(f"{AUTH}/signin", {
        "email": "new@example.com", "isNewUser": True}), BAD, FORBIDDEN)
    refused("revoking a key that is not there", me.post(f"{AUTH}/api_keys/{NOBODY}/revoke"), MISSING)


def malformed():
    """400: bodies that are none"""
    for name, raw in (("no JSON", b"{nope"), ("nothing", b""), ("a list", b"[]"), ("a text", b"\"x\""),
                      ("null", b"null"), ("not UTF-8", b"{\"name\": \"\xff\"}")):
        refused(f"creating with {name}", me.call("POST", f"{CUSTOMER}/jobs", raw), BAD)
    deep = b"[" * 100_000
    refused("creating with a very deep body", me.call("POST", f"{CUSTOMER}/jobs", deep), BAD, 413)


def types():
    """400: fields of the wrong type, named"""
    base = {"templateId": seen["template"]}
    for field, value in (("name", 5), ("name", []), ("description", {}), ("params", "x"), ("config", []),
                         ("dataSource", "bypass"), ("templateId", 7), ("jobId", 7)):
        refused(f"{field} = {value!r}", me.post(f"{CUSTOMER}/jobs", {**base, field: value}), BAD, word=field)
    for value in ("soon", -1, 1.5, [], 10**30):
        refused(f"config.taskTimeout = {value!r}", me.post(
            f"{CUSTOMER}/jobs", {**base, "config": {"taskTimeout": value}}), BAD, word="taskTimeout")
    for value in (3600.0, "3600.0", "3.6e3"):
        kept = answered(f"config.taskTimeout = {value!r} is 3600", me.post(
            f"{CUSTOMER}/jobs", {**base, "config": {"taskTimeout": value}}))
        check("exactly", kept["job"]["config"]["taskTimeout"] == 3600, me.last)
    refused("config.isTestJob = 'maybe'", me.post(
        f"{CUSTOMER}/jobs", {**base, "config": {"isTestJob": "maybe"}}), BAD, word="isTestJob")
    refused("params.app = 5", me.post(f"{CUSTOMER}/jobs", {**base, "params": {"app": 5}}), BAD, word="app")
    refused("jobname = {}", me.patch(job("/jobname"), {}), BAD)
    refused("configs = 'x'", me.patch(job("/configs"), "x"), BAD)
    refused("an unknown descriptor", me.patch(job("/datasource"), {
        "dataSource": {"dataSourceDescriptor": "ftp"}}), BAD, word="dataSourceDescriptor")
    refused("a source that only takes results", me.patch(job("/datasource"), {"dataSource": BUCKET}), BAD)
    refused("a destination that only gives data", me.patch(job("/datasource"), {
        "dataDestination": {"dataSourceDescriptor": "url", "params": {"url": "http://example.com/"}}}), BAD)
    refused("a url source without a url", me.patch(job("/datasource"), {
        "dataSource": {"dataSourceDescriptor": "url", "params": {}}}), BAD, word="url")
    refused("a file of this machine", me.patch(job("/datasource"), {
        "dataSource": {"dataSourceDescriptor": "url", "params": {"url": "file:///etc/passwd"}}}), BAD, word="url")


def misspelt():
    """400: fields that nobody knows, at any depth, named with the one that was meant"""
    base = {"templateId": seen["template"]}
    template = {"id": seen["template"], "app": seen["app"], "partitioner": "passthrough",
                "assembler": "passthrough"}
    typo = {"taskTimout": 60}
    for claim, answer in (
        ("a job's config", me.post(f"{CUSTOMER}/jobs", {**base, "config": typo})),
        ("PATCH configs", me.patch(job("/configs"), typo)),
        ("PATCH configs, wrapped", me.patch(job("/configs"), {"config": typo})),
        ("a run's config", me.post(job("/run"), typo)),
        ("a run's config, wrapped", me.post(job("/run"), {"config": typo})),
        ("a template's config", me.post(f"{DEV}/templates", {**template, "config": typo})),
    ):
        refused(f"{claim} with taskTimout", answer, BAD, word="did you mean taskTimeout?")
    for claim, answer, word in (
        ("a job", me.post(f"{CUSTOMER}/jobs", {**base, "dataSorce": BYPASS}), "dataSource?"),
        ("a template", me.post(f"{DEV}/templates", {**template, "asembler": "zip"}), "assembler?"),
        ("a place", me.patch(job("/datasource"), {"dataSource": {
            "dataSourceDescriptor": "bypass", "param": {}}}), "params?"),
        ("a log's query", me.post(f"{CUSTOMER}/logs", {"jobId": seen["draft"], "level": []}), "levels?"),
        ("a count of running tasks", me.post(f"{CUSTOMER}/jobs/runningTasks", {"jobIds": [seen["draft"]]}), "jobsIds?"),
    ):
        refused(f"{claim} with a misspelt field", answer, BAD, word=word)
    kept = answered("the draft is as it was", me.get(job()))["job"]
    check("and new", kept["state"] == "JOB_STATE_NEW" and kept["config"]["taskTimeout"] == 0, me.last)


def shown():
    """What servers showed may be sent back"""
    old = {"minChunkSize": "0", "maxChunkSize": "0", "replicationFactor": 0, "partitioningSettings": {}}
    answered("a config of 2023", me.patch(job("/configs"), old))
    refused("unless it asks for something", me.patch(job("/configs"), {"replicationFactor": 3}), BAD,
            word="replicationFactor")
    template = answered("a template is read", me.get(f"{DEV}/templates/{seen['template']}"))
    answered("and pushed as it is", me.post(f"{DEV}/templates", template))


def templates():
    """Templates that are not there"""
    refused("no template", me.post(f"{CUSTOMER}/jobs", {"name": "x"}), BAD, word="templateId")
    refused("an unknown template", me.post(f"{CUSTOMER}/jobs", {"templateId": "no-such"}), BAD, MISSING)
    refused("reading it", me.get(f"{DEV}/templates/no-such"), MISSING)
    refused("its presets", me.get(f"{CUSTOMER}/jobs/templates/no-such/presets"), MISSING)
    refused("a template without an id", me.post(f"{DEV}/templates", {"app": seen["app"]}), BAD, word="id")
    refused("a template without an app", me.post(f"{DEV}/templates", {
        "id": "x-" + shop.mark, "partitioner": "passthrough", "assembler": "passthrough"}), BAD, word="app")


def jobs():
    """404: jobs that are not there"""
    for id in (NOBODY, "not-a-uuid", "..%2f..%2fetc", "%00"):
        for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/run"), ("POST", "/abort"),
                             ("DELETE", ""), ("PATCH", "/params"), ("PATCH", "/uploadcompleted")):
            statuses = (MISSING,) if id == NOBODY else (MISSING, BAD)
            body = {} if path in ("/params", "/run") else None
            refused(f"{method} /jobs/{id[:8]}…{path}", me.call(method, job(path, id), body), *statuses)
    refused("logs", me.post(f"{CUSTOMER}/logs", {"jobId": NOBODY}), MISSING)
    refused("logs without a job", me.post(f"{CUSTOMER}/logs", {}), BAD, word="jobId")
    refused("running tasks without jobsIds (required)", me.post(f"{CUSTOMER}/jobs/runningTasks", {}),
            BAD, word="jobsIds")
    refused("a path that is none", me.get(f"{CUSTOMER}/nothing/here"), MISSING)
    refused("another method", me.call("PUT", f"{CUSTOMER}/jobs", {}), MISSING, 405, 501)


def too_early():
    """400: calls at the wrong time (9)"""
    refused("running without a source", me.post(job("/run")), BAD, word="dataSource")
    refused("results of a draft", me.get(job("/results")), BAD, word="job has not yet been completed")
    file = shop.create(seen["template"], dataSource={"dataSourceDescriptor": "file"}, dataDestination=BUCKET)
    refused("running before the upload", me.post(job("/run", file["id"])), BAD)
    refused("upload completed before it was", me.patch(job("/uploadcompleted", file["id"])), BAD)
    going = shop.create(seen["template"], dataSource=BYPASS, dataDestination=BUCKET,
                        params={"app": {"secs": 60}})
    shop.start(going)
    id = going["id"]
    refused("running it twice", me.post(job("/run", id)), BAD)
    refused("its results now", me.get(job("/results", id)), BAD, word="job has not yet been completed")
    for path, body in (("/params", {"app": {}}), ("/configs", {"taskTimeout": 1}), ("/datasource", {
            "dataSource": BYPASS})):
        refused(f"PATCH {path} of a started job", me.patch(job(path, id), body), BAD)
    refused("creating it again (9)", me.post(f"{CUSTOMER}/jobs", {
        "jobId": id, "templateId": seen["template"]}), BAD)
    answered("aborting it", me.post(job("/abort", id)))
    shop.wait(going)
    refused("aborting it again", me.post(job("/abort", id)), BAD)
    refused("the results of a failed job", me.get(job("/results", id)), BAD)


def inactive():
    """Packages that are not active accept no jobs (3.3)"""
    app = shop.app("resting")
    template = shop.template("resting", app)
    answered("deactivated", me.post(f"{DEV}/apps/{app}/deactivate"))
    draft = shop.create(template, dataSource=BYPASS, dataDestination=BUCKET)
    refused("running it", me.post(job("/run", draft["id"])), BAD, word=app)


def pushes():
    """Archives that are no packages (3.2)"""
    good = packages.app_manifest("checked-" + shop.mark, platformConfig={"container": wire.IMAGE})
    cases = [
        ("no data", {}, "data"), ("no base64", {"data": "!!!"}, "data"),
        ("no archive", {"data": "bm90IGEgdGFy"}, "data"),
        ("no manifest", {"data": packages.archive({"app/run.sh": ""})}, "manifest.json"),
        ("no entrypoint", {"data": packages.archive({"manifest.json": good})}, "entrypoint"),
        ("a way out", {"data": packages.archive({"manifest.json": good, "app/run.sh": "", "../x": ""})}, "../x"),
    ]
    for field, value in (("name", "two words"), ("name", "x" * 65), ("name", ""), ("version", "1"),
                         ("version", "1.2.3"), ("version", "a.b"), ("platform", "wasm")):
        manifest = {**good, field: value}
        cases.append((f"{field} = {value[:9]!r}", {"data": packages.package(manifest, "x")}, field))
    for name, body, word in cases:
        refused(f"an app with {name}", me.post(f"{DEV}/apps", body), BAD, word=word)
    refused("an engine of no type", me.post(f"{DEV}/engines", {
        "engineData": packages.package(good, "x")}), BAD, word="type")
    for kind in ("apps", "engines"):
        for call in ("", "/status", "/download"):
            refused(f"GET /{kind}/no-such{call}", me.get(f"{DEV}/{kind}/no-such{call}"), MISSING)
        refused(f"activating one of no {kind}", me.post(f"{DEV}/{kind}/no-such/activate"), MISSING)
        refused(f"a tag that is none of {kind}", me.get(f"{DEV}/{kind}/a@b@c"), BAD, MISSING)


def queries():
    """400: pages, orders and filters that are none"""
    for key, value in (("pagination.limit", "many"), ("pagination.limit", "-1"), ("pagination.offset", "-1"),
                       ("orderBy", "no_such_field"), ("orderBy", "name; drop table job")):
        refused(f"{key}={value}", me.call("GET", f"{CUSTOMER}/jobs", query={key: value}), BAD, word=key.split(".")[-1])
    refused("a filter in the query, which would be ignored", me.get(
        f"{CUSTOMER}/jobs", template="x"), BAD, word="orderBy")
    refused("a state that is none", me.get(f"{CUSTOMER}/jobs", state="DONE"), BAD, word="JOB_STATE_COMPLETE")
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"}
    for name, one, word in (
        ("an unknown condition", {"field": "name", "condition": "FILTER_CONDITION_NEAR", "value": text}, "condition"),
        ("an unknown field", {"field": "password", "condition": "FILTER_CONDITION_EQ", "value": text}, "field"),
    ):
        refused(f"a filter with {name}", me.post(f"{CUSTOMER}/jobs/filter", {"filters": [one]}), BAD, word=word)


def secrets():
    """Secrets that are none (1.2)"""
    good = {"id": "S_" + shop.mark, "secretType": "aws", "accessKey": "a"}
    for name, body, word in (
        ("no secret", {"secretKey": "k"}, "secret"), ("no key", {"secret": good}, "secretKey"),
        ("no type", {"secret": {**good, "secretType": ""}, "secretKey": "k"}, "secretType"),
        ("an unknown type", {"secret": {**good, "secretType": "vault"}, "secretKey": "k"}, "secretType"),
        ("a bad end", {"secret": {**good, "expiresAt": "tomorrow"}, "secretKey": "k"}, "expiresAt"),
    ):
        refused(f"a secret with {name}", me.post(f"{AUTH}/secrets", body), BAD, word=word)
    refused("deleting one that is not there", me.delete(f"{AUTH}/secrets/aws/no-such"), MISSING)
    refused("coupons that are none", me.post(f"{WALLET}/redeem_coupon", {"couponCode": "no"}),
            BAD, MISSING, word="coupon")
    refused("no coupon at all", me.post(f"{WALLET}/redeem_coupon", {}), BAD, word="couponCode")


def others():
    """Another customer sees nothing of ours"""
    if not wire.OTHER_API_KEY:
        print("     skipped: FANFOLD_OTHER_API_KEY is not set")
        return
    other = wire.sign_in(wire.OTHER_API_KEY)[0]
    for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/run"), ("POST", "/abort"),
                         ("DELETE", ""), ("PATCH", "/params"), ("PATCH", "/uploadcompleted")):
        body = {} if path == "/params" else None
        refused(f"{method} of our job{path}", other.call(method, job(path), body), MISSING, FORBIDDEN)
    refused("our logs", other.post(f"{CUSTOMER}/logs", {"jobId": seen["draft"]}), MISSING, FORBIDDEN)
    refused("our app", other.get(f"{DEV}/apps/{seen['app']}"), MISSING, FORBIDDEN)
    refused("our template", other.get(f"{DEV}/templates/{seen['template']}"), MISSING, FORBIDDEN)
    refused("a job of our template", other.post(f"{CUSTOMER}/jobs", {"templateId": seen["template"]}), BAD, MISSING)
    refused("taking over our job by its id", other.post(f"{CUSTOMER}/jobs", {
        "templateId": seen["template"], "jobId": seen["draft"]}), BAD, MISSING, FORBIDDEN)
    listed = answered("their jobs", other.get(f"{CUSTOMER}/jobs", pagination__limit=100))
    check("are not ours", seen["draft"] not in [one["id"] for one in listed["data"]], other.last)
    running = other.post(f"{CUSTOMER}/jobs/runningTasks", {"jobsIds": [seen["draft"]]})
    check("nor do they learn how many tasks ours has", running.status in (MISSING, FORBIDDEN)
          or seen["draft"] not in running.body["jobsRunningTasks"], running)
    answered("and our draft is as it was", me.get(job()))


if __name__ == "__main__":
    run(prepare, unauthenticated, keys, signing, malformed, types, misspelt, shown, templates, jobs, too_early,
        inactive, pushes, queries, secrets, others)
