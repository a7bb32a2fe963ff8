"""What the generator cannot know: which names are there, and who calls. Both are
chosen by what was generated, so that one seed gives one run."""

import json
import os
from random import Random

import schemathesis

WORLD = json.loads(os.environ["TOMBOLA_CONTRACT_WORLD"])
KEYS = WORLD["keys"]


def dice(*of):
    return Random(repr(of))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Mostly names that are there."""
    path = context.operation.path
    known = dict(WORLD["names"])
    if path.startswith(("/v1/awards/", "/v1/draws/", "/v1/dead-letters/")):
        known["id"] = WORLD["awards"]
    roll = dice(path, path_parameters)
    if path_parameters:
        for name in path_parameters:
            if name in known and roll.random() < 0.8:
                path_parameters[name] = roll.choice(known[name])
    return path_parameters


@schemathesis.hook
def before_call(context, case, kwargs):
    """Mostly an admin, now and then each other role, a wrong key, or nobody."""
    roll = dice(case.path, case.path_parameters, case.query, case.body)
    headers = case.headers
    headers.pop("Authorization", None)
    who = roll.choices(["admin", *KEYS, "wrong", "nobody"], [20] + [1] * (len(KEYS) + 2))[0]
    if who != "nobody":
        headers["Authorization"] = f"Bearer {KEYS.get(who, 'tmb_wrong')}"
