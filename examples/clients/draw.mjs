// Draws once for one order. Safe to run again: the same order gives the same answer.
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function draw(campaign, user, order) {
  for (let attempt = 0; attempt < 6; attempt++) {
    const answer = await fetch(`${process.env.TOMBOLA_URL}/v1/campaigns/${campaign}/draws`, {
      method: "POST",
      body: JSON.stringify({ user }),
      headers: { Authorization: `Bearer ${process.env.TOMBOLA_API_KEY}`, "Content-Type": "application/json", "Idempotency-Key": `order-${order}` },
      signal: AbortSignal.timeout(10_000),
    }).catch(() => null); // no answer: whether it was drawn is unknown, so ask again with the same key
    if (answer?.ok) return (await answer.json()).draws[0];
    if (answer && ![429, 503].includes(answer.status)) throw new Error(await answer.text()); // nothing was drawn
    await wait(Number(answer?.headers.get("retry-after") ?? 0.1 * 2 ** attempt));
  }
  throw new Error("no answer; run this again with the same order");
}

console.log(JSON.stringify(await draw(...process.argv.slice(2, 5))));
