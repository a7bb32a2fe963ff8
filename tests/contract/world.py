"""A server in the middle of its work: a key of each role, a campaign that runs with
prizes of every kind, codes, an endpoint that nobody answers at, draws, and awards in
every state. Everything goes through the API."""

import json
import urllib.error
import urllib.request
import uuid

CAMPAIGN = "autumn-fair"
ENDPOINT = "coupon-service"
# No generated request changes it, so that no call leaves this machine.
NOBODY = "nobody"
USERS = ["u1", "u2", "u3", "u4"]
ROLES = ["admin", "operator", "auditor", "client", "deliverer"]

PRIZES = [
    {"slug": "mug", "name": "A mug", "kind": "physical", "odds": "15%", "stock": 1000},
    {"slug": "coffee", "name": "Coffee voucher", "kind": "code", "odds": "15%"},
    {"slug": "coupon", "name": "A coupon", "kind": "webhook", "odds": "15%", "endpoint": NOBODY},
    {"slug": "film", "name": "A film", "kind": "external", "odds": "15%"},
    {"slug": "card", "name": "A card", "kind": "text", "text": "Thank you", "odds": "15%"},
    {"slug": "thanks", "name": "10 points", "kind": "points", "points": 10, "odds": "20%"},
]


class World:
    def __init__(self, url, key):
        self.url, self.key = url, key
        self.keys = {}

    def call(self, method, path, body=None, media="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": media,
            "Idempotency-Key": uuid.uuid4().hex,
        }
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def make(self):
        self.make_keys()
        for name in [ENDPOINT, NOBODY]:
            endpoint = {"name": name, "url": "http://127.0.0.1:9/", "idempotent": True, "allow_private": True}
            self.call("PUT", f"/v1/endpoints/{name}", endpoint)
        self.campaign(CAMPAIGN, PRIZES)
        codes = "".join(f"COFFEE-{n:06}\n" for n in range(5000)).encode()
        path = f"/v1/campaigns/{CAMPAIGN}/prizes/coffee/codes"
        self.call("POST", path, codes, "text/csv")
        self.move(CAMPAIGN, "submit", "approve", "start")
        self.campaign("spring-fair", PRIZES[-1:])
        for user in USERS:
            self.call("POST", f"/v1/campaigns/{CAMPAIGN}/draws", {"user": user, "count": 20})

    def make_keys(self):
        """Made-up ids are small: the first keys are there to be revoked."""
        for n in range(10):
            self.call("POST", "/v1/keys", {"role": "auditor", "client": f"spare-{n}"})
        for role in ROLES:
            made = self.call("POST", "/v1/keys", {"role": role, "client": role})
            self.keys[role] = made["key"]
        self.key = self.keys["admin"]

    def campaign(self, slug, prizes):
        file = {"campaign": {"slug": slug, "name": slug}, "prize": prizes}
        self.call("PUT", f"/v1/campaigns/{slug}", file)

    def move(self, slug, *commands):
        for command in commands:
            self.call("POST", f"/v1/campaigns/{slug}/transitions", {"to": command})

    def known(self):
        """What requests are to be about, and who sends them."""
        states = ["pending", "retryable", "held", "delivered", "dead", "cancelled"]
        pages = (self.call("GET", f"/v1/awards?state={state}&limit=20") for state in states)
        return {
            "keys": self.keys,
            "awards": [award["id"] for page in pages for award in page["items"]],
            "names": {
                "campaign": [CAMPAIGN, "spring-fair"],
                "prize": [prize["slug"] for prize in PRIZES],
                "name": [ENDPOINT],
                "user": USERS,
            },
        }
