"""Requests made up from the OpenAPI document, against a server: `run.py URL SEED KEY-FILE`.
No 5xx, and no status, header or body that the document does not know."""

import json
import os
import pathlib
import subprocess
import sys

from world import World

HERE = pathlib.Path(__file__).parent
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    # What the document forbids is refused, also a method that it does not name.
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
]
# Requests made up for each operation, beside those at the edges of its schemas.
EXAMPLES = 30


def main(url, seed, key_file):
    world = World(url, pathlib.Path(key_file).read_text().strip())
    world.make()
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "hooks",
        "TOMBOLA_CONTRACT_WORLD": json.dumps(world.known()),
        "PYTHONPATH": str(HERE),
    }
    command = [
        pathlib.Path(sys.executable).with_name("schemathesis"),
        "run",
        f"{url}/openapi.json",
        f"--seed={seed}",
        f"--max-examples={EXAMPLES}",
        f"--checks={','.join(CHECKS)}",
        "--continue-on-failure",
        "--no-color",
        "--warnings=off",
    ]
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
