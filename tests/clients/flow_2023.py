#!/usr/bin/env python3
"""A customer of 2023: the paths and the spellings that were recorded then (1.5)."""

from catalogue import Catalogue
from shapes import GENERIC, JOB_RESPONSE, RESULT, RPC_STATUS, STATES, compare
import wire
from wire import CUSTOMER, WALLET, Session, answered, check, need, run, until

me = Session()
shop = Catalogue(me)
seen = {}
UPLOADED = b"a folder's worth of frames\n" * 1000
LOCAL = {"dataSourceDescriptor": "local", "params": {
    "@type": "type.googleapis.com/bytenite.data_source.LocalFileDataSource"}}
TEMPORARY = {"dataSourceDescriptor": "bucket"}
OLD_BALANCE = {"accountId": "uuid", "totalBalance": "digits", "availableBalance": "digits"}


def job_call(claim, answer):
    body = answered(claim, answer)
    wrong = compare(body, JOB_RESPONSE)
    check(f"{claim}: a JobResponse", not wrong, f"{wrong} {answer}")
    return body["job"]


def generic_ok(claim, answer):
    body = answered(claim, answer)
    check(f"{claim}: a GenericResponse that is ok", not compare(body, GENERIC) and body["ok"], answer)


def prepare():
    """An app and a template whose id has a version, as ids had in 2023"""
    me.token = wire.sign_in()[0].token
    app = shop.app("encode")
    seen["template"] = shop.template("video-encoding@v0.2", app)
    check("a template's id may be name@vM.m", "@" in seen["template"])


def money():
    """The old balance: whole numbers, as texts"""
    body = answered("GET /v1/customer/wallet/balance", me.get(f"{CUSTOMER}/wallet/balance"))
    wrong = compare(body, OLD_BALANCE)
    check("whole numbers as texts", not wrong, f"{wrong} {me.last}")
    new = answered("GET /v1/wallet/balance", me.get(f"{WALLET}/balance"))
    check("of the same account", new["accountId"] == body["accountId"], me.last)
    check("of the same amount, whole", int(body["totalBalance"]) == int(new["totalBalance"]), body)


def create():
    """POST /jobs with a name and a template"""
    job = job_call("POST /jobs", me.post(f"{CUSTOMER}/jobs", {
        "name": f"bytenite job {shop.mark}", "templateId": seen["template"]}))
    check("it is new", job["state"] == STATES[0], job)
    seen["id"] = job["id"]


def upload():
    """The local file: tempUrl, PUT, uploadcompleted (4)"""
    job = job_call("POST /jobs/datasource/{id}", me.post(f"{CUSTOMER}/jobs/datasource/{seen['id']}", {
        "dataSource": LOCAL, "dataDestination": TEMPORARY}))
    url = job["dataSource"]["params"].get("tempUrl", "")
    need("the answer has a tempUrl", url.startswith("http"), me.last)
    early = me.post(f"{CUSTOMER}/jobs/run/{seen['id']}")
    check("run is refused before the upload (4)", early.status == 400, early)
    check("with an rpcStatus", not compare(early.body, RPC_STATUS), early)
    early = me.post(f"{CUSTOMER}/jobs/uploadcompleted/{seen['id']}")
    check("uploadcompleted is refused before the upload", early.status == 400, early)
    put = Session().call("PUT", url, UPLOADED, headers={
        "Content-Disposition": "attachment", "Content-Type": "application/octet-stream"})
    need("the bytes are PUT without a token", put.status in (200, 201, 204), put)
    early = me.post(f"{CUSTOMER}/jobs/run/{seen['id']}")
    check("run is refused before uploadcompleted (4, INF)", early.status == 400, early)
    generic_ok("POST /jobs/uploadcompleted/{id}", me.post(f"{CUSTOMER}/jobs/uploadcompleted/{seen['id']}"))


def params():
    """POST /jobs/params/{id}, with texts where numbers go"""
    job = job_call("POST /jobs/params/{id}", me.post(f"{CUSTOMER}/jobs/params/{seen['id']}", {
        "partitioner": {}, "assembler": {}, "app": {"word": "encode"}}))
    check("the app's params are set", job["params"]["app"] == {"word": "encode"}, me.last)


def old_params():
    """The params of the notebooks: data and a preset, which the app gets"""
    job = job_call("POST /jobs/params/{id} with data and preset", me.post(
        f"{CUSTOMER}/jobs/params/{seen['id']}", {"data": {"word": "notebook"}, "preset": "hd"}))
    check("they are the app's", job["params"]["app"] == {"word": "notebook", "preset": "hd"}, me.last)
    typo = me.post(f"{CUSTOMER}/jobs/params/{seen['id']}", {"dat": {"word": "lost"}})
    check("an unknown name is refused", typo.status == 400 and "dat" in typo.body["message"], typo)
    kept = answered("the job", me.get(f"{CUSTOMER}/jobs/{seen['id']}"))["job"]
    check("and changes nothing", kept["params"] == job["params"], me.last)


def estimate():
    """GET /jobs/estimation/{id}"""
    body = answered("GET /jobs/estimation/{id}", me.get(f"{CUSTOMER}/jobs/estimation/{seen['id']}"))
    wrong = compare(body, {"estimation": {"totalEstimation": "digits"}})
    check("the estimation is a whole number as text", not wrong, f"{wrong} {me.last}")


def execute():
    """POST /jobs/run/{id} and GET /jobs/{id} until the end"""
    generic_ok("POST /jobs/run/{id}", me.post(f"{CUSTOMER}/jobs/run/{seen['id']}", {}))
    job = until("the job ends", lambda: ended(me.get(f"{CUSTOMER}/jobs/{seen['id']}").body["job"]))
    need("the job is complete", job["state"] == "JOB_STATE_COMPLETE", job)
    check("completedAt is when it ended", job["completedAt"] == job["endedAt"] != None, job)
    check("a passthrough makes one chunk", job["numChunks"] == 1, job)


def ended(job):
    return job if job["state"] in STATES[-2:] else None


def results():
    """GET /jobs/{id}/results"""
    body = answered("GET results", me.get(f"{CUSTOMER}/jobs/{seen['id']}/results"))
    wrong = compare(body, {"results": [RESULT]})
    check("names and links", not wrong and len(body["results"]) == 1, f"{wrong} {me.last}")
    output = Session().call("GET", body["results"][0]["link"])
    check("the app saw all bytes", f"bytes={len(UPLOADED)}".encode() in output.raw, output)


def upload_2025():
    """The same with the words of 2025: file, PATCH uploadcompleted (4)"""
    job = shop.create(seen["template"], dataSource={"dataSourceDescriptor": "file", "params": {
        "@type": LOCAL["params"]["@type"]}}, dataDestination=TEMPORARY)
    url = job["dataSource"]["params"]["tempUrl"]
    put = Session().call("PUT", url, b"x", headers={"Content-Disposition": "attachment"})
    need("PUT", put.status in (200, 201, 204), put)
    generic_ok("PATCH /jobs/{id}/uploadcompleted", me.patch(f"{CUSTOMER}/jobs/{job['id']}/uploadcompleted"))
    done = shop.finish(job)
    check("it completes", done["state"] == "JOB_STATE_COMPLETE", done)


def without_type():
    """A file source without params, and one set by PATCH"""
    job = shop.create(seen["template"])
    changed = job_call("PATCH datasource", me.patch(f"{CUSTOMER}/jobs/{job['id']}/datasource", {
        "dataSource": {"dataSourceDescriptor": "file"}, "dataDestination": TEMPORARY}))
    check("has a tempUrl too", str(changed["dataSource"]["params"].get("tempUrl")).startswith("http"), me.last)


if __name__ == "__main__":
    run(prepare, money, create, upload, params, old_params, estimate, execute, results, upload_2025, without_type)
