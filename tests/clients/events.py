"""Listening to a server's events, as lines of JSON or as server-sent events."""

import json
import threading

EVENT = {"result": {"event": "filled", "data": "object"}}


class Listener:
    """Hears all events from now on, until the script ends."""

    def __init__(self, session, headers):
        self.heard = []
        self.event = None
        self.answer = session.open("/v1/customer/events", headers)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()

    def listen(self):
        try:
            for line in self.answer:
                self.hear(line.decode())
        except OSError:
            pass  # the server closed it, or was silent for long

    def hear(self, line):
        name, _, rest = line.partition(":")
        if name == "event":
            self.event = rest.strip()
        elif name == "data":
            data = json.loads(rest)
            self.heard.append(data if "result" in data else {"result": {"event": self.event, "data": data}})
        elif line.startswith("{"):
            self.heard.append(json.loads(line))

    def about(self, job):
        return [event for event in list(self.heard) if job in json.dumps(event)]

    def ended(self, job):
        """True as soon as the job's last state was told, else None."""
        told = [event for event in self.about(job) if "JOB_STATE_COMPLETE" in json.dumps(event)]
        return True if told else None
