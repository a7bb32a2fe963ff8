"""A document that is wrong in one place for each check, so that the run has to notice
each of them: a check that cannot fail says nothing. No document makes a server fail, so
`not_a_server_error` and `audit_holds` are not among them."""

import copy

JSON = "application/json"


def without_status(it):
    del it["responses"]["200"]


def with_another_field(it):
    content = it["responses"]["200"]["content"][JSON]
    content["schema"] = {"allOf": [content["schema"], {"required": ["luck"]}]}


def with_another_type(it):
    it["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}


def with_another_header(it):
    header = {"required": True, "schema": {"type": "string"}}
    it["responses"]["200"]["headers"]["x-luck"] = header


def with_another_field_to_send(it):
    content = it["requestBody"]["content"][JSON]
    content["schema"] = {"allOf": [content["schema"], {"required": ["luck"]}]}


def with_another_header_to_send(it):
    header = {"name": "x-luck", "in": "header", "required": True, "schema": {"type": "string"}}
    it["parameters"].append(header)


def with_other_roles(it):
    it["x-tombola-roles"] = ["auditor"]


# An operation, what becomes of it, and what is to be said of it.
BREAKS = [
    ("GET /version", without_status, "Undocumented status code"),
    ("GET /v1/doctor", with_another_field, "Response violates schema"),
    ("GET /v1/secrets", with_another_type, "Undocumented Content-Type"),
    ("GET /v1/endpoints", with_another_header, "Missing required response headers"),
    ("POST /v1/endpoints/{name}/enable", with_another_field_to_send, "Schema-violating request accepted"),
    ("POST /v1/deliveries/resume", with_another_header_to_send, "Missing required header accepted"),
    ("GET /v1/keys", with_other_roles, "Custom check failed: `only_its_roles`"),
]
# Those methods of `/v1/keys` are not in that document, and one of them is served.
NOTICED = {(operation, title) for operation, _, title in BREAKS} | {
    ("POST /v1/keys", "Wrong response to undeclared method"),
    ("OPTIONS /v1/keys", "Allow header mismatch"),
    (None, "Custom check failed: `EachOperationWorks`"),
}
# Nobody serves it.
NOWHERE = "/v1/luck"


def document(good):
    """Those operations alone, each with its fault."""
    bad = copy.deepcopy(good)
    bad["paths"] = {}
    for operation, change, _ in BREAKS:
        method, path = operation.split()
        it = copy.deepcopy(good["paths"][path][method.lower()])
        change(it)
        bad["paths"][path] = {method.lower(): it}
    bad["paths"][NOWHERE] = {"get": good["paths"]["/v1/keys"]["get"] | {"operationId": "luck"}}
    return bad


def unnoticed(report):
    """What the run with that document should have said and did not."""
    said = set()
    for failure in report["failures"]:
        for operation in failure["operations"] or [None]:
            said.add((operation, failure["title"]))
    return sorted(map(str, NOTICED - said))
