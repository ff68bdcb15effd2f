#!/usr/bin/env node
// npm's solc (WebAssembly) behind the native compiler's command line, as far as py-solc-x and forge use it:
// `--version`, and standard JSON from stdin to stdout. npm's own `solcjs` reads a pipe synchronously and fails with EAGAIN.
const solc = require("solc");
if (process.argv.includes("--version")) {
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${solc.version()}\n`);
} else {
  const chunks = [];
  process.stdin.on("data", (chunk) => chunks.push(chunk));
  process.stdin.on("end", () => process.stdout.write(solc.compile(Buffer.concat(chunks).toString("utf8"))));
}
