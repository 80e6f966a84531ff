"""A ready catalogue for scripts about something else: an app, engines and a template, active."""

import uuid

import packages
import wire
from wire import CUSTOMER, DEV, answered, until

ENDED = ("JOB_STATE_COMPLETE", "JOB_STATE_FAILED")


class Catalogue:
    """Names of their own for one script's packages, and the calls that scripts repeat."""

    def __init__(self, session):
        self.session = session
        self.mark = uuid.uuid4().hex[:8]

    def app(self, name, **manifest):
        """Pushes and activates an app; gives its name."""
        name = f"{name}-{self.mark}"
        platform = {"container": wire.IMAGE, **manifest.pop("platformConfig", {})}
        manifest = packages.app_manifest(name, platformConfig=platform, **manifest)
        data = packages.package(manifest, packages.APP)
        answered("an app is pushed", self.session.post(f"{DEV}/apps", {"data": data}))
        answered("and activated", self.session.post(f"{DEV}/apps/{name}/activate"))
        return name

    def engine(self, name, kind):
        """Pushes and activates the partitioner or the assembler; gives its name."""
        name = f"{name}-{self.mark}"
        script = packages.PARTITIONER if kind == "partitioner" else packages.ASSEMBLER
        data = packages.package(packages.manifest(name, Type=kind), script)
        answered(f"a {kind} is pushed", self.session.post(f"{DEV}/engines", {"engineData": data}))
        answered("and activated", self.session.post(f"{DEV}/engines/{name}/activate"))
        return name

    def template(self, name, app, partitioner="passthrough", assembler="passthrough", **more):
        """Stores a template; gives its id."""
        body = {"id": f"{name}-{self.mark}", "app": app, "partitioner": partitioner,
                "assembler": assembler, **more}
        answered("a template is stored", self.session.post(f"{DEV}/templates", body))
        return body["id"]

    def create(self, template, **more):
        """A draft of this template; gives the job."""
        body = {"templateId": template, "name": f"job {self.mark}", **more}
        return answered("a job is created", self.session.post(f"{CUSTOMER}/jobs", body))["job"]

    def start(self, job, body=None):
        path = f"{CUSTOMER}/jobs/{job['id']}/run"
        return answered("and run", self.session.post(path, body))

    def wait(self, job, states=ENDED):
        """The job as soon as it is in one of these states."""
        def look():
            found = self.session.get(f"{CUSTOMER}/jobs/{job['id']}").body["job"]
            return found if found["state"] in states or found["state"] in ENDED else None
        return until(f"the job is in one of {states}", look)

    def finish(self, job, body=None):
        """Runs a job to its end."""
        self.start(job, body)
        return self.wait(job)

    def files(self, job):
        """What came out of a job, by name."""
        results = answered("it has results", self.session.get(f"{CUSTOMER}/jobs/{job['id']}/results"))
        return {one["name"]: wire.Session().call("GET", one["link"]).raw for one in results["results"]}


BYPASS = {"dataSourceDescriptor": "bypass"}
BUCKET = {"dataSourceDescriptor": "bucket"}
