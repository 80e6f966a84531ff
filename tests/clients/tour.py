#!/usr/bin/env python3
"""Every documented call that the flows do not make, and the shape of its answer."""

import packages
import wire
from catalogue import Catalogue
from shapes import (
    ACCOUNT, API_KEY, GENERIC, JOB, PAGINATION, TEMPLATE, USER, VERSION, compare,
)
from wire import AUTH, CUSTOMER, DEV, WALLET, Session, answered, check, run

me = Session()
shop = Catalogue(me)
seen = {}
RATE = {"currency": "text", "currencyAmount": "number", "exchangeRate": "number", "amount": "number"}


def told(claim, answer, shape):
    """The JSON of an answer of this shape."""
    body = answered(claim, answer)
    wrong = compare(body, shape)
    check(f"{claim}: the documented shape", not wrong, f"{'; '.join(wrong)}\n     in {answer}")
    return body


def info():
    """Server info (1.1, 1.2, 1.3)"""
    me.token = wire.sign_in()[0].token
    whole = {"version": VERSION, "messages": "any"}
    for base, shape in ((CUSTOMER, whole), (AUTH, {"version": VERSION}), (DEV, whole)):
        told(f"GET {base}/info", me.get(f"{base}/info"), shape)


def documents():
    """The OpenAPI documents, and their pages (1.0)"""
    names = set()
    for base in (CUSTOMER, AUTH, DEV, WALLET):
        document = answered(f"GET {base}/docs/swagger.json", Session().get(f"{base}/docs/swagger.json"))
        check("it says its version and has paths",
              ("swagger" in document or "openapi" in document) and document.get("paths")
              and "version" in document.get("info", {}), base)
        names |= {call.get("operationId") for path in document["paths"].values()
                  for call in path.values() if isinstance(call, dict)}
    for name in ("Customer_CreateJob", "Auth_RequestAccessToken", "Wallet_GetBalance"):
        check(f"generated clients find {name}", name in names, sorted(filter(None, names)))


def document_pages():
    """The documents for people (1.0)"""
    for base in (CUSTOMER, AUTH, DEV, WALLET):
        answer = Session().get(f"{base}/docs/")
        check(f"{base}/docs/ is a page", answer.status == 200
              and "html" in answer.headers.get("Content-Type", ""), answer)


def renamed():
    """The name that the API got in September 2025 (1.0)"""
    told("GET /v1/computing/jobs", me.get("/v1/computing/jobs"), {"pagination": PAGINATION, "data": [JOB]})
    told("GET /v1/computing/info", me.get("/v1/computing/info"), {"version": VERSION, "messages": "any"})


def person():
    """The user (1.2)"""
    told("GET /user", me.get(f"{AUTH}/user"), {"user": USER})
    body = told("PATCH /user", me.patch(f"{AUTH}/user", {
        "firstName": "Ada", "lastName": "L", "contactInfo": {"company": "Engines", "zip": "1815"}}), {"user": USER})
    check("what was sent is there", body["user"]["firstName"] == "Ada"
          and (body["user"]["contactInfo"] or {}).get("company") == "Engines", me.last)
    name = f"tour-{shop.mark}"
    body = told("PATCH /user chooses the username", me.patch(f"{AUTH}/user", {"username": name}),
                {"user": USER})
    check("it is chosen", body["user"]["username"] == name, me.last)
    told("POST /user, as the old page did", me.post(f"{AUTH}/user", {"firstName": "Ada"}), {"user": USER})


def keys():
    """API keys (1.2)"""
    body = told("GET /api_keys", me.get(f"{AUTH}/api_keys"), {"apiKeys": [API_KEY]})
    check("a key itself is never listed", wire.API_KEY.encode() not in me.last.raw, me.last)
    check("ours is there", any(not key["revoked"] for key in body["apiKeys"]), me.last)


def sign_in_by_mail():
    """The one-time code (1.2)"""
    sent = {"ok": "bool", "sentAt": "time", "expireAt": "time", "nonce": "filled"}
    told("POST /signin sends a code", Session().post(f"{AUTH}/signin", {
        "email": "somebody@example.com", "isNewUser": False}), sent)
    answer = Session().post(f"{AUTH}/authenticate", {
        "email": "somebody@example.com", "deviceId": "d", "code": "000000", "nonce": "n", "loginChallenge": ""})
    check("a wrong code is refused", answer.status in (400, 401, 403), answer)


def skip():
    """Whether a login page may be left out (1.2)"""
    told("GET /skip", Session().get(f"{AUTH}/skip", loginChallenge="c"), {"skip": "bool", "redirectTo": "text"})


def sign_out():
    """Signing out ends the token (1.2)"""
    other = wire.sign_in()[0]
    told("POST /signout", other.post(f"{AUTH}/signout", {}), GENERIC)
    answer = other.get(f"{CUSTOMER}/jobs")
    check("the token is no longer accepted", answer.status == 401, answer)


def account():
    """The account (1.4)"""
    told("GET /account", me.get(f"{WALLET}/account"), {"account": ACCOUNT})


def rate():
    """The exchange rate, both ways (1.4)"""
    body = told("GET /exchange_rate of credits", me.get(
        f"{WALLET}/exchange_rate", currency="USD", amount=200), RATE)
    check("gives money", body["currencyAmount"] > 0 and body["amount"] == 200, me.last)
    body = told("GET /exchange_rate of money", me.get(
        f"{WALLET}/exchange_rate", currency="USD", currencyAmount=body["currencyAmount"]), RATE)
    check("gives the credits back", abs(body["amount"] - 200) < 1, me.last)


def portal():
    """The billing portal (1.4)"""
    answer = me.get(f"{WALLET}/billing_portal")
    if answer.status == 400:
        # A server without a payment provider has no portal, and says how credits come instead.
        check("GET /billing_portal tells another way", b"top_up" in answer.raw, answer)
    else:
        told("GET /billing_portal", answer, {"url": "text"})


def top_up():
    """Topping up, and not (1.4)"""
    request = {"id": "filled", "state": "filled", "currency": "filled", "amount": "number",
               "exchangeRate": "number", "currencyAmount": "text"}
    body = told("POST /top_up", me.post(f"{WALLET}/top_up", {
        "currencyAmount": "10", "currency": "USD", "amount": ""}),
        {"topUpRequest": request, "clientSecret": "text", "cardDetails": "list"})
    told("POST /cancel_top_up", me.post(f"{WALLET}/cancel_top_up", {
        "id": body["topUpRequest"]["id"], "cancelMessage": "changed my mind"}), GENERIC)


def plans():
    """Plans: a list, be it empty (1.4)"""
    told("GET /plans", me.get(f"{WALLET}/plans"), {"plans": "list"})


def payouts():
    """Payouts (1.4, 6.3)"""
    told("GET /payout_history", me.call("GET", f"{WALLET}/payout_history?limit=5&offset=0"),
         {"accountId": "uuid", "payoutRequests": "list"})


def payout():
    """A payout is answered with its request, or refused with a reason (1.4)"""
    answer = me.post(f"{WALLET}/payout", {"amount": "1", "currency": "USD"})
    check("POST /payout", answer.status in (400, 403) or answer.status == 200
          and "payoutRequest" in answer.body, answer)


def recovery():
    """The monthly trigger (1.4)"""
    told("POST /triggers/forceful_balance_recovery",
         me.post(f"{WALLET}/triggers/forceful_balance_recovery"), GENERIC)


def templates():
    """Templates as the Customer API lists them (1.1 rows 16 and 17)"""
    seen["app"] = shop.app("toured")
    seen["template"] = shop.template("toured", seen["app"])
    body = told("GET /jobs/templates", me.get(f"{CUSTOMER}/jobs/templates", pagination__limit=100),
                {"pagination": PAGINATION, "data": [TEMPLATE]})
    check("ours is there", seen["template"] in [one["id"] for one in body["data"]], me.last)
    told("GET /jobs/templates/{id}/presets", me.get(
        f"{CUSTOMER}/jobs/templates/{seen['template']}/presets"), {"presets": "list"})


def schema():
    """Schemas, deprecated and still answered (1.1 row 18)"""
    told("GET /schema/{id}", me.get(f"{CUSTOMER}/schema/{seen['app']}"),
         {"id": "text", "name": "text", "version": "text", "schema": "any"})


def stats():
    """Statistics, deprecated and still answered (1.1 row 22)"""
    answered("GET /stats/job_types", me.get(f"{CUSTOMER}/stats/job_types"))


def push(name, version, description=""):
    manifest = packages.app_manifest(name, platformConfig={"container": wire.IMAGE})
    manifest.update(version=version, description=description)
    data = packages.package(manifest, packages.APP)
    return answered(f"{version} is pushed", me.post(f"{DEV}/apps", {"data": data}))


def tags():
    """Versions, tags, overwriting (3.3)"""
    name = shop.app("aged", version="1.2")
    for version in ("1.10", "2.0"):
        push(name, version)
    for tag, version in ((name, "2.0"), (f"{name}@1", "1.10"), (f"{name}@1.2", "1.2")):
        app = answered(f"GET {tag}", me.get(f"{DEV}/apps/{tag}"))["app"]
        check(f"{tag} is {version}", app["version"] == version, me.last)
    before = me.get(f"{DEV}/apps/{name}@2.0").body["app"]
    push(name, "2.0", "new")
    after = me.get(f"{DEV}/apps/{name}@2.0").body["app"]
    check("pushing again overwrites: one record, another revision and hash",
          after["id"] == before["id"] and after["revision"] != before["revision"]
          and after["hash"] != before["hash"], me.last)
    body = answered("download", me.get(f"{DEV}/apps/{name}@2.0/download"))
    link = Session().call("GET", body["message"]) if body["message"].startswith("http") else None
    check("the message is a link to the archive (1.3, INF)", link and link.status == 200, me.last)
    for call, status in (("activate", "active"), ("deactivate", "inactive")):
        answered(call, me.post(f"{DEV}/apps/{name}@2.0/{call}"))
        body = answered("status", me.get(f"{DEV}/apps/{name}@2.0/status"))
        check(f"the message is {status} (1.3, INF)", status == body["message"], me.last)
    seen["aged"] = name


def public():
    """Filtering by isPublic (1.3)"""
    for kind in ("apps", "engines", "templates"):
        listed = answered(f"public {kind}", me.get(f"{DEV}/{kind}", isPublic="true", pagination__limit=100))
        check("are public indeed", all(one["isPublic"] for one in listed[kind]), str(me.last)[:600])


def places():
    """Every documented kind of source and destination (4)"""
    bucket = {"name": "/in/a.txt", "bucketName": "b", "cloudRegion": "us-east-2"}
    kind = "type.googleapis.com/bytenite.data_source."
    s3, http = {"@type": kind + "S3DataSource", **bucket}, {"@type": kind + "HttpDataSource"}
    sources = [
        ("aws", s3), ("s3", s3), ("gcp", s3), ("storj", s3),
        ("storj", {**bucket, "@type": kind + "StorjDataSource", "cloudRegion": "us1"}),
        ("url", {**http, "url": "http://example.com/a", "name": "a", "username": "u", "password": "p-w"}),
        ("file", {"@type": kind + "LocalFileDataSource"}), ("local", {}), ("bypass", None),
    ]
    for descriptor, params in sources:
        place(descriptor, "dataSource", params)
    for descriptor, params in (("aws", s3), ("s3", s3), ("gcp", s3), ("storj", s3), ("bucket", {}),
                               ("bucket", None), ("bypass", None)):
        place(descriptor, "dataDestination", params)


def place(descriptor, field, params):
    there = {"dataSourceDescriptor": descriptor}
    if params is not None:
        there["params"] = params
    answer = me.post(f"{CUSTOMER}/jobs", {"templateId": seen["template"], field: there})
    if check(f"{descriptor} as {field} is accepted", answer.status == 200, answer):
        given = answer.body["job"][field]["params"] or {}
        kept = all(given.get(key) == value for key, value in (params or {}).items()
                   if key in ("url", "bucketName", "cloudRegion"))
        # The type of 2023 may come back under its later name.
        kind = {(params or {}).get("@type"), "type.googleapis.com/bytenite.data_source.S3DataSource"}
        kept = kept and ("@type" not in (params or {}) or given.get("@type") in kind)
        check("its params come back", kept, answer)
        check("a password does not", b"p-w" not in answer.raw, answer)


def private_image():
    """An image that only its owner may pull (1.3, 3.2)"""
    name = "private-" + shop.mark
    manifest = packages.app_manifest(name, platformConfig={
        "container": "registry.example.com/x:1", "privateImage": True, "username": "u", "token": "t"})
    data = packages.package(manifest, packages.APP)
    app = answered("an app with username and token is pushed", me.post(f"{DEV}/apps", {"data": data}))
    check("and says so", app["platformConfig"]["privateImage"] is True, me.last)


def schema_check():
    """Params are checked against the app's schema at once (1.1 row 8, 3.5)"""
    name = "strict-" + shop.mark
    manifest = packages.app_manifest(name, platformConfig={"container": wire.IMAGE})
    rule = {"$id": "db://" + name, "title": name, "type": "object", "required": ["case"],
            "properties": {"case": {"type": "string"}}}
    data = packages.archive({
        "manifest.json": manifest, "app/run.sh": packages.APP, "schema.json": rule})
    answered("an app with a schema is pushed", me.post(f"{DEV}/apps", {"data": data}))
    answered("and activated", me.post(f"{DEV}/apps/{name}/activate"))
    job = shop.create(shop.template("strict", name))
    answer = me.patch(f"{CUSTOMER}/jobs/{job['id']}/params", {"app": {"case": 5}})
    check("params that break it are refused", answer.status == 400 and b"case" in answer.raw, answer)


def app_tests():
    """Testing an app (1.3)"""
    app = answered("the app", me.get(f"{DEV}/apps/{seen['app']}"))["app"]
    answered("POST /tests", me.post(f"{DEV}/tests", {"id": app["id"]}))
    answered("GET /tests/{id}", me.get(f"{DEV}/tests/{app['id']}"))


def cache():
    """Filling the user's cache (1.3)"""
    answered("GET /cache/upload-url", me.get(f"{DEV}/cache/upload-url", name="models/a.bin"))


if __name__ == "__main__":
    run(info, documents, document_pages, renamed, person, keys, sign_in_by_mail, skip, sign_out,
        account, rate, portal, top_up, plans, payouts, payout, recovery, templates, schema, stats, tags,
        public, places, private_image, schema_check, app_tests, cache)
