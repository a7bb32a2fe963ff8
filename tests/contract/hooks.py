"""What the generator cannot know: which names are there, and who calls. Both are chosen
by what was generated, so that one seed gives one run. And what is asked of the answers
beside what the generator asks by itself."""

import json
import os
import re
from collections import Counter
from random import Random

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase

WORLD = json.loads(os.environ["TOMBOLA_CONTRACT_WORLD"])
KEYS = WORLD["keys"]
BODY, PATH = ParameterLocation.BODY, ParameterLocation.PATH
# Operations that no generated request can make work, and why.
NEVER_WELL = {
    "GET /v1/dead-letters/{id}": "messages that are kept come from the topic, not over the API",
}
SLUG = re.compile("[a-z0-9-]{1,40}")
# Requests so far, for each operation: equal ones have different callers.
sent = Counter()


def dice(*of):
    return Random(repr(of))


def known_names(path):
    """The longer the beginning, the later it has its say."""
    names = {}
    for beginning in sorted(WORLD["names"], key=len):
        if path.startswith(beginning):
            names |= WORLD["names"][beginning]
    return names


@schemathesis.hook
def before_call(context, case, kwargs):
    label = case.operation.label
    sent[label] += 1
    roll = dice(label, sent[label])
    # The caller is mostly an admin, now and then each other role, a wrong key, or nobody.
    headers = case.headers
    headers.pop("Authorization", None)
    others = [*KEYS, "wrong", "nobody"]
    who = roll.choices(["admin", *others], [20] + [1] * len(others))[0]
    if who != "nobody":
        headers["Authorization"] = f"Bearer {KEYS.get(who, 'tmb_wrong')}"
    # The example's key with another body would be refused for that alone.
    if headers.get("Idempotency-Key") == "click-7f3a9c52" and roll.random() < 0.9:
        headers["Idempotency-Key"] = f"contract-{roll.getrandbits(64):016x}"
    name_what_is_there(case, roll)
    say_it_twice(case, roll)
    keep_world(case)


def name_what_is_there(case, roll):
    """Mostly; not where the path is wrong on purpose, or follows from an earlier answer."""
    meta = case.meta
    if not meta or meta.is_negative_at(PATH) or meta.phase.name == TestPhase.STATEFUL:
        return
    known = known_names(case.path)
    for name in case.path_parameters:
        if name in known and roll.random() < 0.8:
            case.path_parameters[name] = roll.choice(known[name])


def say_it_twice(case, roll):
    """A PUT has its name in the address and in the body; a campaign is a draft that nobody
    has submitted."""
    body = case.body
    if case.method != "PUT" or not isinstance(body, dict) or roll.random() < 0.2:
        return
    is_wrong = case.meta and case.meta.is_negative_at(PATH)
    names = body.get("campaign", {}) if "campaign" in case.path_parameters else body
    field = "name" if names is body else "slug"
    if isinstance(names, dict) and SLUG.fullmatch(str(names.get(field))):
        if field == "slug" and not is_wrong:
            case.path_parameters["campaign"] = f"draft-{roll.randrange(5)}"
        names[field] = str(next(iter(case.path_parameters.values())))


def keep_world(case):
    """What would take the world from the requests that follow, or lead out of this machine."""
    path, body = case.path, case.body if isinstance(case.body, dict) else {}
    # A key that the others come with.
    if path.startswith("/v1/keys/") and case.path_parameters.get("id") in WORLD["key_ids"]:
        case.path_parameters["id"] = 1
    # A bulk action on every award, or on those that single actions are tried on.
    if isinstance(body.get("filter"), dict):
        if body["filter"].get("campaign") in [None, *WORLD["kept"]]:
            body["filter"]["campaign"] = WORLD["bulk"]
    # Calls of an endpoint that was made up.
    if str(body.get("url")).startswith(("http://", "https://")):
        body["url"] = WORLD["service"]


@schemathesis.check
def only_its_roles(ctx, response, case):
    """Nobody is let in but whom the document names."""
    roles = case.operation.definition.raw.get("x-tombola-roles", ["anybody"])
    sent = response.request.headers.get("Authorization")
    if isinstance(sent, bytes):
        sent = sent.decode()
    who = next((who for who, key in KEYS.items() if sent == f"Bearer {key}"), "nobody")
    if who not in roles and "anybody" not in roles and response.status_code < 400:
        raise AssertionError(f"{who} is let in, which only {', '.join(roles)} may be")


@schemathesis.check
def audit_holds(ctx, response, case):
    """Whatever was asked for so far."""
    if case.operation.label == "GET /v1/audit" and response.status_code == 200:
        violated = [it for it in response.json()["checks"] if it["violations"]]
        if violated:
            raise AssertionError(f"violated: {violated}")


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """A body that is no JSON has no wrong types: each is a text."""
    is_of_body = isinstance(failure, AcceptedNegativeData) and case.meta.is_negative_at(BODY)
    return not (is_of_body and case.media_type == "text/csv")


@schemathesis.check
class EachOperationWorks:
    """Each operation was answered well at least once; errors alone say little of it."""

    def __init__(self):
        self.tried, self.worked = set(), set(NEVER_WELL)

    def after_response(self, ctx, response, case):
        self.tried.add(case.operation.label)
        if response.status_code < 300:
            self.worked.add(case.operation.label)

    def after_run(self, ctx):
        never = sorted(self.tried - self.worked)
        if never:
            raise AssertionError(f"never answered well: {', '.join(never)}; see `world.py`")
