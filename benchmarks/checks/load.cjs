// Loads one URL with autocannon, as the JSON on stdin asks, and prints what came of it as JSON.
"use strict";

const autocannon = require("autocannon");

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
    requests: asked.requests,
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
