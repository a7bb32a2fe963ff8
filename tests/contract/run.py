"""Requests made up from the OpenAPI document, against a server: `run.py URL SEED KEY-FILE`.
No 5xx, and no status, header or body that the document does not know. Then the same with a
document that is wrong, whose faults have to be noticed."""

import json
import os
import pathlib
import subprocess
import sys
import urllib.request

import broken
from world import World

HERE = pathlib.Path(__file__).parent
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    # What the document forbids is refused, also a method that it does not name, and a
    # request without a header that it demands.
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    # Ours, in `hooks.py`.
    "only_its_roles",
    "audit_holds",
    "EachOperationWorks",
]
# Requests made up for each operation, beside those at the edges of its schemas.
EXAMPLES = 30


class Generator:
    def __init__(self, url, seed, known):
        self.url, self.seed = url, seed
        self.environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "hooks",
            "TOMBOLA_CONTRACT_WORLD": json.dumps(known),
            "PYTHONPATH": str(HERE),
        }

    def run(self, document, report, **more):
        command = [
            pathlib.Path(sys.executable).with_name("schemathesis"),
            f"--config-file={HERE / 'schemathesis.toml'}",
            "run",
            document,
            f"--url={self.url}",
            f"--seed={self.seed}",
            f"--max-examples={EXAMPLES}",
            f"--checks={','.join(CHECKS)}",
            "--generation-with-security-parameters=false",
            "--generation-database=none",
            "--continue-on-failure",
            "--no-color",
            "--warnings=off",
            "--report=json",
            f"--report-json-path={report}",
        ]
        return subprocess.run(command, env=self.environment, **more).returncode


def main(url, seed, key_file):
    world = World(url, pathlib.Path(key_file).read_text().strip())
    world.make()
    generator = Generator(url, seed, world.known())
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        good = json.load(answer)
    pathlib.Path("openapi.json").write_text(json.dumps(good))
    if generator.run("openapi.json", "report.json") != 0:
        return 1
    pathlib.Path("broken.json").write_text(json.dumps(broken.document(good)))
    generator.run("broken.json", "broken-report.json", stdout=subprocess.DEVNULL)
    unnoticed = broken.unnoticed(json.loads(pathlib.Path("broken-report.json").read_text()))
    for fault in unnoticed:
        print(f"not noticed: {fault}")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
