"""Requests made up from the OpenAPI document, against a server: `run.py URL KEY-FILE SEED`.
No 5xx, and no status, header or body that the document does not know."""

import json
import os
import pathlib
import subprocess
import sys

from world import CAMPAIGN, ENDPOINT, PRIZES, USERS, World

HERE = pathlib.Path(__file__).parent
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]


def main(url, key_file, seed):
    world = World(url, pathlib.Path(key_file).read_text().strip())
    world.make()
    names = {
        "campaign": [CAMPAIGN, "spring-fair"],
        "prize": [prize["slug"] for prize in PRIZES],
        "name": [ENDPOINT],
        "user": USERS,
    }
    known = {"keys": world.keys, "names": names, "awards": world.awards()}
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "hooks",
        "TOMBOLA_CONTRACT_WORLD": json.dumps(known),
        "PYTHONPATH": str(HERE),
    }
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{url}/openapi.json",
        f"--seed={seed}",
        f"--checks={','.join(CHECKS)}",
        *sys.argv[4:],
    ]
    return subprocess.run(command, env=environment, cwd=HERE).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))
