// A shop's first day with the generated client. Prints what it found as one line of JSON.
// Arguments: the server's URL, an API key, and wallets that nobody used yet.

import createClient from "openapi-fetch";
import type { components, paths, webhooks } from "./loyalty.js";

type Intent = components["schemas"]["IntentOut"];
type Problem = components["schemas"]["ProblemOut"];

const [, , baseUrl, key, ...wallets] = process.argv;
const [first, second, third] = wallets;
if (!baseUrl || !key || !first || !second || !third) throw new Error("too few arguments");

const loyalty = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${key}` } });
const stranger = createClient<paths>({ baseUrl, headers: { Authorization: "Bearer of nobody" } });

const health = await stranger.GET("/healthz");
const program = await loyalty.GET("/v1/program");

const order = { "Idempotency-Key": `order-${first}` };
const card = { wallet: first, tier: "gold", expiry: "2049-12-31" };
const given = await loyalty.POST("/v1/mints", { params: { header: order }, body: card });
const again = await loyalty.POST("/v1/mints", { params: { header: order }, body: card });
const batch = await loyalty.POST("/v1/batches", {
  params: { header: { "Idempotency-Key": `drop-${first}` } },
  body: { kind: "mint-card", items: [{ wallet: second, tier: "member" }, { wallet: third, tier: "member" }] },
});

async function* intents(): AsyncGenerator<Intent> {
  for (let cursor: string | null = ""; cursor !== null; ) {
    const page: Awaited<ReturnType<typeof next>> = await next(cursor);
    if (!page.data) throw new Error(page.error.title);
    yield* page.data.items;
    cursor = page.data.cursor;
  }
}

function next(cursor: string) {
  return loyalty.GET("/v1/intents", { params: { query: { kind: ["mint-card"], limit: 1, cursor } } });
}

const listed: Intent["id"][] = [];
for await (const intent of intents()) listed.push(intent.id);

const refused = await loyalty.POST("/v1/mints", {
  params: { header: { "Idempotency-Key": "a-mistake" } },
  body: { wallet: "0x12", tier: "goald" },
});
const unknown = await stranger.GET("/v1/program");
const gate = await loyalty.POST("/v1/gate", { body: { wallet: first, conditions: { stamps: ["latte"] } } });

// What a receiver of webhooks is sent has a type, too.
type Sent = webhooks["event"]["post"]["requestBody"]["content"]["application/json"];
export const isSure = (event: Sent): boolean => event.phase === "final" && event.sequence > 0;

// What does not fit the document does not compile.
export async function wrong(): Promise<void> {
  // @ts-expect-error - there is no such route
  await loyalty.GET("/v1/member");
  // @ts-expect-error - the Idempotency-Key is missing
  await loyalty.POST("/v1/mints", { body: card });
  // @ts-expect-error - there is no such phase
  await loyalty.GET("/v1/intents", { params: { query: { phase: "done" } } });
  // @ts-expect-error - a stamp is missing
  await loyalty.POST("/v1/stamps", { params: { header: order }, body: { wallet: first } });
}

function told(problem: Problem | undefined): [string | undefined, (string | undefined)[]] {
  return [problem?.code, (problem?.errors ?? []).map((each) => each.pointer)];
}

console.log(
  JSON.stringify({
    health: health.data?.status,
    tiers: program.data?.tiers.map((tier) => tier.id),
    given: given.data?.id,
    phase: given.data?.phase,
    again: again.data?.id,
    replayed: again.response.headers.get("Idempotent-Replayed"),
    batch: batch.data?.replies.accepted,
    listed,
    refused: told(refused.error),
    stranger: told(unknown.error),
    reasons: gate.data?.reasons.map((reason) => reason.code),
  }),
);
