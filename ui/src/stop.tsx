/**
 * The page of kill switches: what is stopped, stopping, and lifting it.
 *
 * 1. Stopping takes a scope and a reason, and no second question: it is the safe side.
 * 2. Lifting takes as many people as the server says, each on a screen of their own.
 * 3. Whoever may do neither still sees everything, and who may.
 */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { clock } from "./clock";
import { announce, Banner, Trouble } from "./parts";
import { Link } from "./route";
import { me } from "./session";
import { askStops, scopeWords, stops } from "./stops";
import { Plain } from "./text";
import { count } from "./words";
import type { KillSwitch, KillSwitches, Scope, Standing } from "./wire";

const LONGEST = 500;

/** Shown on every page while something is stopped. */
export function Stopped() {
  const on = stops.value?.engaged ?? [];
  const [first] = on;
  if (!first) return null;
  const more = on.length > 1 ? ` and ${on.length - 1} more` : "";
  return (
    <Banner title="Stopped by a kill switch" tone="alarm">
      <p>
        Nothing that belongs to <Plain text={scopeWords(first)} />
        {more} runs. What is held is frozen, and its deadlines wait. <Link to="/stop">What is stopped, and why</Link>
      </p>
    </Banner>
  );
}

export function Stop() {
  const [refused, setRefused] = useState<Refusal | null>(null);
  const look = (): void => {
    setRefused(null);
    askStops().catch((error: unknown) => setRefused(refusal(error)));
  };
  useEffect(() => {
    document.title = "Stop · Interlock";
    look();
  }, []);
  const now = stops.value;
  return (
    <main class="stops">
      <div class="opening">
        <h1>Stop</h1>
        <p class="quiet-words">
          A kill switch stops everything, one agent, or some topics, in every process and at once. What is held stays
          held, and nothing is lost.
        </p>
      </div>
      {refused ? <Trouble refused={refused} retry={look} /> : null}
      {now ? (
        <>
          <On now={now} />
          {mayStop(now) ? <Engage /> : <Nobody now={now} />}
          <Before lifted={now.lifted} />
        </>
      ) : refused ? null : (
        <p class="quiet-words">Asking the server…</p>
      )}
    </main>
  );
}

function mayStop({ may }: KillSwitches): boolean {
  return may.some((person) => person.id === me.value?.person.id);
}

function Nobody({ now }: { now: KillSwitches }) {
  const names = now.may.map((person) => person.name).join(", ");
  return (
    <section class="block">
      <h2>Who may stop</h2>
      <p>
        {names ? (
          <>
            People with the role operator or policy-admin: <Plain text={names} />.
          </>
        ) : (
          <>
            Nobody here has the role operator or policy-admin. On the server: <code>interlock kill --all</code>
          </>
        )}
      </p>
    </section>
  );
}

function by(id: string): string {
  const known = stops.value?.may.find((person) => person.id === id);
  return known ? known.name : id;
}

// --- what is on -------------------------------------------------------------------------------------------

function On({ now }: { now: KillSwitches }) {
  return (
    <section class="block" aria-labelledby="stopped-now">
      <h2 id="stopped-now">Stopped now</h2>
      {now.engaged.length === 0 ? <p>Nothing is stopped.</p> : null}
      <ol class="switches">
        {now.engaged.map((one) => (
          <li key={one.id}>
            <One one={one} now={now} />
          </li>
        ))}
      </ol>
    </section>
  );
}

function Facts({ one }: { one: KillSwitch }) {
  return (
    <>
      <h3>
        <Plain text={scopeWords(one).replace(/^./, (letter) => letter.toUpperCase())} />
        {one.drill ? " (a drill)" : null}
      </h3>
      <p>
        <Plain text={one.reason} />
      </p>
      <p class="meta">
        Stopped {clock(one.engaged_at)} by <Plain text={by(one.by)} />
        {one.rearmed_at ? `, lifted ${clock(one.rearmed_at)}` : null} · <code>{one.id}</code>
      </p>
    </>
  );
}

function One({ one, now }: { one: Standing; now: KillSwitches }) {
  const mine = one.agreed.some((person) => person.id === me.value?.person.id);
  const left = one.needed - one.agreed.length;
  const names = one.agreed.map((person) => person.name).join(", ");
  return (
    <article class="switch-card">
      <Facts one={one} />
      <p>
        {names ? (
          <>
            Agreed to lift it: <Plain text={names} />. {count(left, "person has", "people have")} to agree still.
          </>
        ) : (
          `To lift it, ${count(one.needed, "person has", "people have")} to agree.`
        )}
      </p>
      {mine ? <p class="quiet-words">You agreed. Somebody else has to agree too.</p> : null}
      {mayStop(now) && !mine ? <Lift kill={one.id} last={left <= 1} /> : null}
    </article>
  );
}

function Lift({ kill, last }: { kill: string; last: boolean }) {
  const reason = useRef("");
  const send = async (): Promise<void> => {
    const done = await api.rearm(kill, reason.current.trim());
    await askStops();
    announce(done.lifted ? "The kill switch is lifted." : "You agreed. Somebody else has to agree too.");
  };
  return (
    <Form
      label={last ? "Lift it" : "Agree to lift it"}
      reason={reason}
      send={send}
      why="Why may it go on? The ledger keeps it, for everybody to read."
    />
  );
}

// --- stopping ---------------------------------------------------------------------------------------------

const SCOPES: readonly (readonly [Scope, string])[] = [
  ["agent", "One agent"],
  ["topic", "Some topics"],
  ["all", "Everything"],
];

function Engage() {
  const [scope, setScope] = useState<Scope>("agent");
  const [done, setDone] = useState<{ kill: string; drill: boolean; words: string } | null>(null);
  const target = useRef("");
  const reason = useRef("");
  const drill = useRef(false);
  const [key, setKey] = useState(0);
  const field = useId();

  const send = async (): Promise<void> => {
    const aim = scope === "all" ? null : target.current.trim();
    const made = await api.stop({ scope, target: aim, reason: reason.current.trim(), drill: drill.current });
    await askStops();
    const running = count(made.running.length, "action was running", "actions were running");
    const words =
      made.stop_us === undefined
        ? `Stopped: ${scopeWords(made)}. Nothing in it is started any more; ${running}.`
        : `The drill took ${(made.stop_us / 1000).toLocaleString("en-US", { maximumFractionDigits: 1 })} ms until every claim was refused, and is over; ${running}.`;
    setDone({ kill: made.id, drill: made.stop_us !== undefined, words });
    announce(words);
    target.current = reason.current = "";
    drill.current = false;
    setKey(key + 1);
  };

  // What was stopped is told until it is lifted.
  const told = done && (done.drill || stops.value?.engaged.some((one) => one.id === done.kill)) ? done : null;

  return (
    <section class="block" aria-labelledby="stop-something">
      <h2 id="stop-something">Stop something</h2>
      {told ? (
        <Banner title="Done">
          <p>
            <Plain text={told.words} />
          </p>
        </Banner>
      ) : null}
      <div key={key}>
        <Form label="Stop" alarm reason={reason} send={send} why="The ledger keeps it, for everybody to read.">
          <fieldset class="choices">
            <legend>What</legend>
            {SCOPES.map(([value, words]) => (
              <label key={value} class="tick">
                <input
                  type="radio"
                  name="scope"
                  value={value}
                  defaultChecked={scope === value}
                  onChange={() => setScope(value)}
                />
                {words}
              </label>
            ))}
          </fieldset>
          {scope === "all" ? null : (
            <div class="field">
              <label for={field}>{scope === "agent" ? "The agent's name" : "The topics"}</label>
              <input
                id={field}
                type="text"
                maxLength={200}
                autoComplete="off"
                spellcheck={false}
                aria-required="true"
                aria-describedby={`${field}-hint`}
                onInput={(event) => {
                  target.current = event.currentTarget.value;
                }}
              />
              <p class="hint" id={`${field}-hint`}>
                {scope === "agent" ? "Exactly as requests show it." : "For example pay.refund, or pay.** for all below pay."}
              </p>
            </div>
          )}
          <label class="tick">
            <input
              type="checkbox"
              onChange={(event) => {
                drill.current = event.currentTarget.checked;
              }}
            />
            Only a drill: stop for real, measure, and lift it at once
          </label>
        </Form>
      </div>
    </section>
  );
}

// --- the form of both -------------------------------------------------------------------------------------

interface FormProps {
  label: string;
  why: string;
  alarm?: boolean;
  reason: { current: string };
  send: () => Promise<void>;
  children?: ComponentChildren;
}

function Form({ label, why, alarm, reason, send, children }: FormProps) {
  const [busy, setBusy] = useState(false);
  const [missing, setMissing] = useState(false);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const field = useId();

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (busy) return;
    setMissing(reason.current.trim() === "");
    if (reason.current.trim() === "") {
      document.getElementById(field)?.focus();
      return;
    }
    setBusy(true);
    setRefused(null);
    try {
      await send();
    } catch (error) {
      setRefused(refusal(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <form onSubmit={(event) => void submit(event)} noValidate>
      {refused ? <Trouble refused={refused} /> : null}
      {children}
      <div class="field">
        <label for={field}>Reason</label>
        <input
          id={field}
          type="text"
          maxLength={LONGEST}
          aria-required="true"
          aria-invalid={missing}
          aria-describedby={`${field}-hint`}
          onInput={(event) => {
            reason.current = event.currentTarget.value;
            setMissing(false);
          }}
        />
        <p class={missing ? "error" : "hint"} id={`${field}-hint`}>
          {missing ? "Say why, in one line." : why}
        </p>
      </div>
      <div class="buttons start">
        <button type="submit" class={alarm ? "stop-button" : "primary"} aria-disabled={busy}>
          {busy ? "Sending…" : label}
        </button>
      </div>
    </form>
  );
}

// --- what was on ------------------------------------------------------------------------------------------

function Before({ lifted }: { lifted: KillSwitch[] }) {
  if (lifted.length === 0) return null;
  return (
    <section class="block" aria-labelledby="lifted-before">
      <h2 id="lifted-before">Lifted before</h2>
      <ol class="switches">
        {lifted.map((one) => (
          <li key={one.id}>
            <Facts one={one} />
          </li>
        ))}
      </ol>
    </section>
  );
}
