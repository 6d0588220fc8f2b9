/** What the action rests on: what was read of it, what was read before, and why it is decided once more. */

import { Cell, Head } from "./changes";
import { When } from "./clock";
import { Banner } from "./parts";
import { Plain, Value } from "./text";
import type { Detail, World } from "./wire";

/** Said above everything else: this was decided before. */
export function Again({ detail }: { detail: Detail }) {
  const { again } = detail;
  if (!again || detail.state !== "held") return null;
  return (
    <Banner title={`It was ${again.was}, and waits again`} tone="alarm">
      <p>{again.words}</p>
    </Banner>
  );
}

export function RestsOn({ detail }: { detail: Detail }) {
  const { world } = detail;
  if (!world || detail.erased) return null;
  return (
    <section aria-labelledby="rests-on">
      <h2 id="rests-on" tabIndex={-1}>
        What it rests on
      </h2>
      <Read world={world} />
      {world.cursor_moved ? (
        <p class="warning">The place that its cursor names is not there any more: something moved since it was proposed.</p>
      ) : null}
      <Fields world={world} />
    </section>
  );
}

function Read({ world }: { world: World }) {
  const at = world.read_at ? <When at={world.read_at} /> : null;
  switch (world.state) {
    case "unread":
      return <p class="quiet-words">It is being read. Nobody can approve before that.</p>;
    case "unavailable":
      return (
        <p>
          It could not be read at {at}: <Plain text={world.reason ?? "nobody knows why"} />. It is tried again by itself;
          nobody can approve before it was read.
        </p>
      );
    case "absent":
      return <p>It was not there at {at}. Should that be different when this runs, it waits here again instead.</p>;
    case "read":
      return <p>Read at {at}. Should it be different when this runs, it waits here again instead.</p>;
  }
}

function Fields({ world }: { world: World }) {
  if (world.fields.length === 0) return null;
  const known = world.fields.some((row) => row.before !== undefined || row.changed);
  return (
    <table class={known ? "change" : "change proposed"} role="table" aria-label="What was read">
      <Head labels={known ? ["Field", "Was", "Is", "What happened"] : ["Field", "Is"]} />
      <tbody role="rowgroup">
        {world.fields.map((row) => (
          <tr key={row.field} role="row" class={known && !row.changed ? "is-same" : "is-changed"}>
            <th role="rowheader" scope="row">
              <Plain text={row.field} />
            </th>
            {known ? (
              <Cell label="Was" kind="before">
                {row.before === undefined ? <i class="none">not there</i> : <Value value={row.before} against={row.now} />}
              </Cell>
            ) : null}
            <Cell label="Is" kind="after">
              {row.now === undefined ? <i class="none">not there</i> : <Value value={row.now} against={row.before} />}
            </Cell>
            {known ? (
              <Cell label="What happened" kind="word">
                {row.changed ? "Changed" : "Same"}
              </Cell>
            ) : null}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
