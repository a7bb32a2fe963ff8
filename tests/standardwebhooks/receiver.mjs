// A receiver that verifies with the official library of npm, as
// crates/server/tests/surface/standard_webhooks.rs drives it.
//
// Standard output: first the receiver's url, then a line for each call: its type and
// id, the secrets that verify it, each asked alone, which of them signed first, and
// those that would verify a call that was changed on its way (there must be none).
// Standard input: a line of JSON with the secrets to know from now on, by name; it is
// answered with the number of them. A call that no known secret verifies is answered
// 401. The process ends with its input, or when nothing came for a while.

import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { Webhook } from "standardwebhooks";

const PATIENCE_MS = 60_000;
let secrets = {};

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

function verifies(secret, body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

const names = (body, headers) =>
  Object.keys(secrets).filter((name) => verifies(secrets[name], body, headers));

function signedFirst(body, headers) {
  const [first] = headers["webhook-signature"].split(" ");
  const at = new Date(Number(headers["webhook-timestamp"]) * 1000);
  const isIt = ([, secret]) => new Webhook(secret).sign(headers["webhook-id"], at, body) === first;
  return Object.entries(secrets).find(isIt)?.[0];
}

// The same call with one thing changed, or made long ago.
function tampered(body, headers) {
  const other = (changes) => names(body, { ...headers, ...changes });
  const swap = (text) => text.slice(0, -2) + (text.at(-2) === "}" ? "]" : "}") + text.slice(-1);
  return [
    ...names(swap(body), headers),
    ...names(`${body} `, headers),
    ...other({ "webhook-id": `${headers["webhook-id"]}x` }),
    ...other({ "webhook-timestamp": String(Number(headers["webhook-timestamp"]) - 1) }),
    ...other({ "webhook-signature": headers["webhook-signature"].replaceAll("v1,", "v1,A") }),
  ];
}

function take(body, headers) {
  const verified = names(body, headers);
  say({
    type: JSON.parse(body).type,
    id: headers["webhook-id"],
    signatures: headers["webhook-signature"].split(" ").length,
    verified,
    first: signedFirst(body, headers),
    tampered: tampered(body, headers),
  });
  return verified.length > 0 ? 204 : 401;
}

let patience;
function wait() {
  clearTimeout(patience);
  patience = setTimeout(() => process.exit(1), PATIENCE_MS);
}

const server = createServer((request, response) => {
  wait();
  const pieces = [];
  request.on("data", (piece) => pieces.push(piece));
  request.on("end", () => {
    const status = take(Buffer.concat(pieces).toString("utf8"), request.headers);
    response.writeHead(status).end();
  });
});

server.listen(0, "127.0.0.1", () => {
  wait();
  process.stdout.write(`http://127.0.0.1:${server.address().port}/awards\n`);
});

createInterface({ input: process.stdin })
  .on("line", (line) => {
    wait();
    secrets = JSON.parse(line);
    say(Object.keys(secrets).length);
  })
  .on("close", () => process.exit(0));
