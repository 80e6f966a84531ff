"""The documented shapes of what the API answers, and a comparison with them.

A shape is a type's name, a list with the shape of the items, or a dict with the shapes of the
fields. A documented field must be there, be it empty; fields more than the documented ones are
the server's own business.
"""

import datetime
import re
import uuid
from decimal import Decimal

STATES = [
    "JOB_STATE_" + name
    for name in (
        "NEW STARTED UPLOADING PARTITIONING PARTITIONED TASKS_COMPLETED MERGING MERGED"
        " DOWNLOADING COMPLETE FAILED"
    ).split()
]
LEVELS = "UNKNOWN TRACE DEBUG INFO WARN ERROR FATAL PANIC".split()
PRIORITIES = ["EXECUTION_PRIORITY_" + name for name in ("UNDEFINED", "CHEAP", "BALANCED", "FAST")]

TEMPLATE_INFO = dict.fromkeys("id owner description app partitioner assembler".split(), "text")
CONFIG = {"taskTimeout": "int", "jobTimeout": "int", "isTestJob": "bool"}
PARAMS = {"partitioner": "object", "assembler": "object", "app": "object"}
PLACE = {"dataSourceDescriptor": "text", "params": "object?"}
JOB = {
    "id": "uuid", "templateId": "text", "appId": "text", "name": "text", "description": "text",
    "config": "config?", "priority": "priority", "startAt": "time?", "submittedAt": "time?",
    "startedAt": "time?", "endedAt": "time?", "createdAt": "time", "deletedAt": "time?",
    "regions": "object?", "state": "state", "stateTimestamps": "times",
    "dataSource": "place?", "dataDestination": "place?", "params": "params?",
    "duration": "number", "paymentAmount": "number", "numUnitsEstimation": "text",
    "numChunks": "int", "errorMessage": "text", "templateInfo": TEMPLATE_INFO,
}
JOB_RESPONSE = {"job": JOB, "templateInfo": TEMPLATE_INFO}
PAGINATION = {"total": "int", "offset": "int", "hasPrevious": "bool", "hasNext": "bool"}
RPC_STATUS = {"code": "int", "message": "filled", "details": "list"}
GENERIC = {"ok": "bool", "requestId": "text", "message": "text", "error": "error?"}
ERROR = {"code": "int", "message": "text", "description": "text"}
VERSION = {"major": "int", "minor": "int", "tag": "text"}
LOG = {"log": "text", "timestamp": "time", "level": "level", "container": "text"}
RESULT = {"name": "filled", "link": "link"}

REQUIREMENTS = {"minCpu": "int", "minMemory": "int", "minDisk": "int", "gpu": ["text"]}
PLATFORM_CONFIG = {"container": "filled", "privateImage": "bool", "secrets": ["text"]}
PACKAGE = {
    "id": "uuid", "name": "filled", "version": "version", "owner": "uuid", "userName": "text",
    "status": "status", "isPublic": "bool", "deviceRequirements": REQUIREMENTS,
    "createdAt": "time", "updatedAt": "time", "platform": "filled", "hash": "filled",
    "link": "text", "platformConfig": PLATFORM_CONFIG, "entrypoint": "filled",
    "description": "text",
}
APP = {**PACKAGE, "revision": "text"}
ENGINE = {**PACKAGE, "revision": "int", "type": "engine", "deletedAt": "time?"}
ENGINE_MESSAGE = dict.fromkeys(
    "engineId engineTag engineData engineLink engineStatus".split(), "text"
)
TEMPLATE = {
    "id": "filled", "createdAt": "time", "updatedAt": "time", "isPublic": "bool",
    "partitioner": "text", "assembler": "text", "app": "text", "dataSource": "place?",
    "dataDestination": "place?", "params": "params?", "config": "config?",
    "userName": "text", "description": "text", "owner": "uuid",
}

API_KEY = {
    "id": "filled", "name": "text", "issuedAt": "time", "expiresAt": "time?", "userId": "uuid",
    "revoked": "bool", "fingerprint": "filled",
}
SECRET = {
    "id": "filled", "secretType": "filled", "accessKey": "text", "expiresAt": "time?",
    "params": "object?", "name": "text",
}
CONTACT = dict.fromkeys(
    "company jobTitle phoneNumber address1 address2 city state zip country".split(), "text"
)
USER = {
    "id": "uuid", "createdAt": "time", "lastLogin": "time?", "displayName": "text",
    "email": "text", "photoUrl": "text", "providerId": "text", "emailVerified": "bool",
    "customClaims": "any", "role": "role", "firstName": "text", "lastName": "text",
    "contactInfo": "contact?", "username": "text",
}

BALANCE = {
    "accountId": "uuid", "totalBalance": "number", "availableBalance": "number",
    "amountDue": "number",
}
TRANSACTION = {
    "id": "uuid", "createdAt": "time", "accountFrom": "text", "accountTo": "text",
    "amount": "number", "transactionType": "filled", "relatedEntity": "related?",
    "notes": "text", "transactionData": "any", "hash": "hash", "relatedEntityData": "object?",
    "description": "text", "balance": "number",
}
ACCOUNT = {
    "id": "uuid", "createdAt": "time", "updatedAt": "time", "ownerId": "uuid",
    "accountType": "text", "verified": "bool", "serviceAccount": "bool", "payments": "any",
    "payouts": "any", "name": "text", "email": "text", "tier": "any", "revenueShare": "any",
    "gracePeriodEndAt": "time?", "numberOfAppsAllowed": "int", "externalId": "text",
}

NAMED = {
    "config": CONFIG, "params": PARAMS, "place": PLACE, "error": ERROR, "contact": CONTACT,
    "related": {"type": "text", "id": "text", "name": "text"},
}


def is_text(value):
    return isinstance(value, str)


def is_int(value):
    return isinstance(value, int) and not isinstance(value, bool)


def is_uuid(value):
    try:
        return is_text(value) and str(uuid.UUID(value)) == value.lower()
    except ValueError:
        return False


def moment(value):
    """The moment that a documented timestamp (ISO 8601, UTC) means."""
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value):
        raise ValueError(value)
    whole, _, rest = value.rstrip("Z").partition(".")
    return datetime.datetime.fromisoformat(whole), Decimal("0." + (rest or "0"))


def is_time(value):
    try:
        return bool(moment(value))
    except (ValueError, TypeError):
        return False


def matches(pattern):
    return lambda value: is_text(value) and re.fullmatch(pattern, value) is not None


TYPES = {
    "any": lambda value: True,
    "text": is_text,
    "filled": lambda value: is_text(value) and value != "",
    "int": is_int,
    "digits": matches(r"\d+"),
    "number": lambda value: isinstance(value, (int, Decimal)) and not isinstance(value, bool),
    "bool": lambda value: isinstance(value, bool),
    "list": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "uuid": is_uuid,
    "time": is_time,
    "times": lambda value: isinstance(value, dict)
    and all(key in STATES and is_time(at) for key, at in value.items()),
    "state": lambda value: value in STATES,
    "level": lambda value: value in LEVELS,
    "priority": lambda value: value in PRIORITIES,
    "status": lambda value: value in ("active", "inactive"),
    "engine": lambda value: value in ("partitioner", "assembler"),
    "role": matches("ROLE_(NONE|USER|DEVELOPER|ADMIN)"),
    "version": matches(r"\d+\.\d+"),
    "hash": matches("[0-9a-f]{64}"),
    "link": matches("https?://.+"),
}


def compare(value, shape, path=""):
    """What of a value is not as the shape says, one text for each field."""
    if isinstance(shape, str):
        return compare_named(value, shape, path)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{path or '.'} is {value!r} instead of a list"]
        return [text for n, item in enumerate(value) for text in compare(item, shape[0], f"{path}[{n}]")]
    if not isinstance(value, dict):
        return [f"{path or '.'} is {value!r} instead of an object"]
    found = [f"{path}.{key} is missing" for key in shape if key not in value]
    for key in shape:
        if key in value:
            found += compare(value[key], shape[key], f"{path}.{key}")
    return found


def compare_named(value, shape, path):
    name = shape.rstrip("?")
    if shape.endswith("?") and value is None:
        return []
    if name in NAMED:
        return compare(value, NAMED[name], path)
    return [] if TYPES[name](value) else [f"{path or '.'} is {value!r} instead of {name}"]
