// node refund.ts ORDER AMOUNT    proposes a refund, waits where a person is asked, and pays once.
// It takes the key of an adapter: INTERLOCK, and INTERLOCK_KEY.

import { connect, decided, propose, run } from "./gate.ts";

const { INTERLOCK = "http://localhost:8420", INTERLOCK_KEY = "" } = process.env;
const [order = "A-12", amount = "1400.00"] = process.argv.slice(2);
const server = connect(INTERLOCK, INTERLOCK_KEY);

async function pay(args: Record<string, unknown>, idempotencyKey: string): Promise<{ reference: string }> {
  console.log(`Paying ${args.amount_usd} for ${args.order_id}.`); // your payment provider, with that key
  return { reference: idempotencyKey.slice(0, 8) };
}

const args = { order_id: order, amount_usd: amount };
const proposed = await propose(server, "support.refunds.create", args, `refund-${order}`);
if (proposed.state === "held") console.log(proposed.user_message);

const action = await decided(server, proposed);
if (action.state === "allowed" || action.state === "approved") await run(server, action, pay);
else console.log(action.user_message);
