// node approve.ts    shows a person what waits first, and approves exactly that.
// It takes the key of a person who reviews: INTERLOCK, and INTERLOCK_KEY.

import { answered, connect } from "./gate.ts";

const { INTERLOCK = "http://localhost:8420", INTERLOCK_KEY = "" } = process.env;
const server = connect(INTERLOCK, INTERLOCK_KEY);

const { items } = answered(await server.GET("/v1/approvals", { params: { query: { state: "held" } } }));
const first = items.find((item) => item.state === "held");
if (first === undefined) throw new Error("Nothing waits.");

const params = { path: { approval_id: first.id } };
const shown = answered(await server.GET("/v1/approvals/{approval_id}", { params }));
console.log(`${shown.title}. ${shown.why.reason}`);
for (const { field, after } of shown.changes) console.log(`  ${field}: ${after}`);

const body = { decision: "approve", expected_hash: shown.review_hash } as const;
const done = answered(await server.POST("/v1/approvals/{approval_id}/decisions", { params, body }));
console.log(`It is ${done.state}.`);
