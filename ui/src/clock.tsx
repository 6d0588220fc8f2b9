/**
 * Time, said the way a person needs it: what is left, and on hover the exact instant.
 * All times are local and on a 24-hour clock; the `title` carries ISO 8601 in UTC.
 */

import { useComputed, signal } from "@preact/signals";
import { clockSkewMs } from "./api";
import type { Item } from "./wire";

const tick = signal(Date.now());
setInterval(() => {
  tick.value = Date.now();
}, 1_000);

/** The server's time, to the second. */
export function nowMs(): number {
  return tick.value + clockSkewMs.value;
}

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span as at most two units: "18 min", "2 h 05 min", "3 days". Rounded down: never more time than there is. */
export function span(ms: number): string {
  if (ms < MINUTE) return `${Math.max(0, Math.floor(ms / 1_000))} s`;
  if (ms < 5 * MINUTE) {
    const seconds = Math.floor((ms % MINUTE) / 1_000);
    return `${Math.floor(ms / MINUTE)} min ${String(seconds).padStart(2, "0")} s`;
  }
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) {
    const minutes = Math.floor((ms % HOUR) / MINUTE);
    return `${Math.floor(ms / HOUR)} h ${String(minutes).padStart(2, "0")} min`;
  }
  return `${Math.floor(ms / DAY)} days`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const CALENDAR = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});

/** "14:02" today, "21 Nov, 14:02" on other days. */
export function clock(at: number | string): string {
  const date = new Date(at);
  return (date.toDateString() === new Date().toDateString() ? CLOCK : CALENDAR).format(date);
}

export function When({ at }: { at: string }) {
  return (
    <time dateTime={at} title={new Date(at).toISOString()}>
      {clock(at)}
    </time>
  );
}

interface DueProps {
  at: string;
  /** Whose deadline it is: then what the deadline does is said as well. */
  item?: Pick<Item, "then" | "escalates_at" | "escalates_to" | "frozen">;
  start?: string;
}

function Frozen({ since }: { since: string }) {
  return (
    <span class="due near">
      <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
        <path d="M5.5 3.5v9M10.5 3.5v9" class="stroke bold" />
      </svg>
      <span>
        <span class="left">Frozen by a kill switch</span>
        <span class="then">
          {" "}
          since <When at={since} />; its deadline waits
        </span>
      </span>
    </span>
  );
}

/**
 * "Due in 18 min, then expires, not run". Close deadlines are marked in weight and shape as well as colour.
 * The server's fragment says after a semicolon, in UTC, who is asked before; here that is said in local time.
 */
export function Due({ at, item, start = "Due" }: DueProps) {
  const left = useComputed(() => Date.parse(at) - nowMs());
  const words = useComputed(() => (left.value <= 0 ? "Deadline passed" : `${start} in ${span(left.value)}`));
  const near = useComputed(() => left.value < 15 * MINUTE);
  if (item?.frozen) return <Frozen since={item.frozen.since} />;
  return (
    <span class={near.value ? "due near" : "due"}>
      <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
        <circle cx="8" cy="8" r="6.2" class="stroke" />
        <path d="M8 4.4V8l2.5 1.7" class="stroke" />
      </svg>
      <span>
        <time class="left" dateTime={at} title={new Date(at).toISOString()}>
          {words}
        </time>
        {item ? <span class="then">, then {item.then.split(";", 1)[0]}</span> : null}
        {item?.escalates_at ? (
          <span class="then">
            ; {item.escalates_to[0] ?? "others"} are asked {Date.parse(item.escalates_at) > nowMs() ? "from" : "since"} <When at={item.escalates_at} />
          </span>
        ) : null}
      </span>
    </span>
  );
}
