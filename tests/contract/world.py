"""A server in the middle of its work: a key of each role, campaigns that run with prizes
of every kind, codes, an outside service that answers well, badly and not at all, and
awards in every state. Everything goes through the API.

What a new route needs to be answered well (a thing that is there, an id that a name of
its path stands for) is made in `World.make` and told in `World.known`."""

import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAIN = "autumn-fair"
DRAFT = "spring-fair"
# Endpoints, and what they answer. The generator does not know them, so that nothing
# disables them, and is given another one.
ENDPOINTS = {"takes": 200, "refuses": 400, "is-busy": 503}
ENDPOINT = "coupon-service"
# Bulk actions stay with it, so that one does not end every award there is.
BULK = "bulk-fair"
USERS = ["u1", "u2", "u3", "u4"]
BLOCKED = ["blocked-1", "blocked-2"]
# They have no unfinished award, so that they can be erased.
LEAVERS = [f"leaver-{n}" for n in range(10)]
ROLES = ["admin", "operator", "auditor", "client", "deliverer"]
SPARE_KEYS = 20
DRAWS = 5
CODES = 5000
# How often it is asked whether awards have come to rest.
ASKED_MAX = 5000

KINDS = [
    {"slug": "mug", "name": "A mug", "kind": "physical"},
    {"slug": "coffee", "name": "Coffee voucher", "kind": "code"},
    {"slug": "coupon", "name": "A coupon", "kind": "webhook", "endpoint": "takes"},
    {"slug": "film", "name": "A film", "kind": "external"},
    {"slug": "card", "name": "A card", "kind": "text", "text": "Thank you"},
    {"slug": "thanks", "name": "10 points", "kind": "points", "points": 10},
]
WHY = {"reason": "so that it is there"}
# Campaigns of one prize whose awards stay where they are.
STAYING = {
    "dead": KINDS[2] | {"endpoint": "refuses"},
    "retryable": KINDS[2] | {"endpoint": "is-busy"},
    "held": KINDS[4] | {"release": "manual"},
}
ADDRESS = {"name": "Ann", "lines": ["Main street 1"], "city": "Bergen", "country": "NO"}


class Service(BaseHTTPRequestHandler):
    """The outside service: the path says how it answers."""

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(ENDPOINTS[self.path.strip("/")])
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class World:
    def __init__(self, url, key):
        self.url, self.key = url, key
        self.sent = 0
        self.keys, self.key_ids = {}, []
        self.awards = {}
        service = ThreadingHTTPServer(("127.0.0.1", 0), Service)
        threading.Thread(target=service.serve_forever, daemon=True).start()
        self.service = f"http://127.0.0.1:{service.server_port}"

    def call(self, method, path, body=None, media="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        self.sent += 1
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": media,
            "Idempotency-Key": f"world-{self.sent:04}",
        }
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def make(self):
        self.make_keys()
        for name in ENDPOINTS:
            self.make_endpoint(name, name)
        self.make_endpoint(ENDPOINT, "takes")
        self.make_campaign(BULK, [KINDS[0] | {"odds": "100%"}])
        spread = [prize | {"odds": "15%"} for prize in KINDS]
        self.make_campaign(MAIN, [spread[0] | {"stock": 1000}, *spread[1:]])
        self.make_campaign(DRAFT, spread[-1:], starts=False)
        self.make_awards()
        token = {"campaign": MAIN, "user": USERS[0]}
        self.keys["player"] = self.call("POST", "/v1/player-tokens", token)["token"]

    def make_keys(self):
        """Made-up ids are small: the first keys are there to be revoked."""
        for n in range(SPARE_KEYS):
            self.call("POST", "/v1/keys", {"role": "auditor", "client": f"spare-{n}"})
        for role in ROLES:
            made = self.call("POST", "/v1/keys", {"role": role, "client": role})
            self.keys[role] = made["key"]
            self.key_ids.append(made["id"])
        self.key = self.keys["admin"]

    def make_campaign(self, slug, prizes, starts=True):
        file = {"campaign": {"slug": slug, "name": slug}, "prize": prizes}
        self.call("PUT", f"/v1/campaigns/{slug}", file)
        if any(prize["kind"] == "code" for prize in prizes):
            codes = "".join(f"COFFEE-{n:06}\n" for n in range(CODES)).encode()
            self.call("POST", f"/v1/campaigns/{slug}/prizes/coffee/codes", codes, "text/csv")
        for to in ["submit", "approve", "start"] if starts else []:
            self.call("POST", f"/v1/campaigns/{slug}/transitions", {"to": to})

    def make_endpoint(self, name, path):
        url = f"{self.service}/{path}"
        endpoint = {"name": name, "url": url, "idempotent": True, "allow_private": True}
        self.call("PUT", f"/v1/endpoints/{name}", endpoint)

    def draw(self, campaign, user, count):
        path = f"/v1/campaigns/{campaign}/draws"
        draws = self.call("POST", path, {"user": user, "count": count})["draws"]
        return [draw["award"] for draw in draws]

    def make_awards(self):
        for name, prize in ({prize["kind"]: prize for prize in KINDS} | STAYING).items():
            self.make_campaign(f"only-{name}", [prize | {"odds": "100%"}])
            won = [award for user in USERS for award in self.draw(f"only-{name}", user, DRAWS)]
            self.awards[name] = [award["id"] for award in won]
            if name == "physical":
                self.keys["winner"] = won[0]["claim_token"]
        for user in LEAVERS:
            self.draw("only-text", user, 1)
        self.draw(BULK, USERS[0], 100)
        self.wait_for_rest()
        physical, external = self.awards["physical"], self.awards["external"]
        for award in physical[:DRAWS]:
            self.call("POST", f"/v1/awards/{award}/address", ADDRESS)
        for award in physical[-DRAWS:]:
            self.call("POST", f"/v1/awards/{award}/cancel", WHY)
        for award in external[:DRAWS]:
            self.call("POST", f"/v1/awards/{award}/confirm", WHY)
        for user in BLOCKED:
            self.call("POST", f"/v1/users/{user}/block", WHY)

    def wait_for_rest(self):
        for _ in range(ASKED_MAX):
            moving = ["pending", "delivering"]
            pages = [self.call("GET", f"/v1/awards?state={it}&limit=1") for it in moving]
            if not any(page["items"] for page in pages):
                return
        raise SystemExit("awards are still on their way")

    def known(self):
        """What requests are to be about, and who sends them: the values of each name of a
        path, by the beginning of the path; the longest that fits has the last word."""
        some_of_all = [award for of_kind in self.awards.values() for award in of_kind[::7]]

        def awards(*fitting):
            return {"id": [*fitting, *fitting, *some_of_all]}

        physical, external = self.awards["physical"], self.awards["external"]
        dead, retryable = self.awards["dead"], self.awards["retryable"]
        codes = "/v1/campaigns/{campaign}/prizes/{prize}/codes"
        stock = "/v1/campaigns/{campaign}/prizes/{prize}/stock"
        return {
            "keys": self.keys,
            "key_ids": self.key_ids,
            "bulk": BULK,
            "kept": [f"only-{name}" for name in self.awards],
            "service": f"{self.service}/takes",
            "names": {
                "/": {
                    "campaign": [MAIN, DRAFT, "only-text"],
                    "prize": [prize["slug"] for prize in KINDS],
                    "name": [ENDPOINT],
                    "user": [*USERS, *BLOCKED],
                    "file": ["page.js", "page.css"],
                },
                codes: {"campaign": [MAIN, "only-code"], "prize": ["coffee"], "import": [1, 2]},
                stock: {"campaign": [MAIN], "prize": ["mug"]},
                "/v1/awards/": awards(),
                "/v1/awards/{id}/address": awards(*physical[DRAWS:-DRAWS]),
                "/v1/awards/{id}/cancel": awards(*dead, *external),
                "/v1/awards/{id}/confirm": awards(*external),
                "/v1/awards/{id}/hold": awards(*retryable),
                "/v1/awards/{id}/release": awards(*self.awards["held"]),
                "/v1/awards/{id}/reverse-points": awards(*self.awards["points"]),
                "/v1/awards/{id}/shipment": awards(*physical[:DRAWS]),
                "/v1/dead-letters/": {"id": [str(award) for award in dead]},
                "/v1/draws/": awards(),
                "/v1/keys/": {"id": list(range(1, SPARE_KEYS))},
                "/v1/operations/": {"id": [1, 2, 3]},
                "/v1/users/{user}/erase": {"user": LEAVERS},
            },
        }
