"""Draws once for one order. Safe to run again: the same order gives the same answer."""
import json, os, sys, time, urllib.error, urllib.request

def draw(campaign, user, order):
    request = urllib.request.Request(
        f"{os.environ['TOMBOLA_URL']}/v1/campaigns/{campaign}/draws",
        data=json.dumps({"user": user}).encode(),
        headers={"Authorization": f"Bearer {os.environ['TOMBOLA_API_KEY']}",
                 "Content-Type": "application/json", "Idempotency-Key": f"order-{order}"})
    for attempt in range(6):
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["draws"][0]
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503):  # 4xx: the body's "code" says why; nothing was drawn
                raise SystemExit(error.read().decode())
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except OSError:  # no answer: whether it was drawn is unknown, so ask again with the same key
            time.sleep(0.1 * 2 ** attempt)
    raise SystemExit("no answer; run this again with the same order")

print(json.dumps(draw(*sys.argv[1:4])))
