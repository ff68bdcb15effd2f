// Loads one URL with autocannon, as the JSON on stdin asks, and prints what came of it as JSON.
"use strict";

const { randomBytes } = require("node:crypto");
const autocannon = require("autocannon");

// What a caller makes up for each request: a member's wallet, and the request's own name.
function fresh(request) {
  const made = { wallet: `0x${randomBytes(20).toString("hex")}`, key: randomBytes(16).toString("hex") };
  const filled = (text) => text.replace(/{(wallet|key)}/g, (_, name) => made[name]);
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, filled(value)]));
  return { ...request, headers, body: filled(request.body) };
}

async function main() {
  let text = "";
  for await (const chunk of process.stdin) text += chunk;
  const asked = JSON.parse(text);
  const result = await autocannon({
    url: asked.url,
    connections: asked.connections,
    duration: asked.seconds,
    timeout: 10,
    ...(asked.rate ? { overallRate: asked.rate, ignoreCoordinatedOmission: true } : {}),
    requests: asked.requests.map((each) => {
      if (!each.fresh) return each;
      const { method, path } = each;
      return { method, path, setupRequest: (request) => ({ ...request, ...fresh(each) }) };
    }),
  });
  const { p50, p99, max } = result.latency;
  console.log(
    JSON.stringify({
      answered: result["2xx"],
      refused: result.non2xx,
      failed: result.errors + result.timeouts,
      seconds: result.duration,
      p50_ms: p50,
      p99_ms: p99,
      max_ms: max,
    }),
  );
}

main().catch((failure) => {
  console.error(String(failure));
  process.exit(1);
});
