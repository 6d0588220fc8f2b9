/**
 * Taking back: what a rollback takes back, what has become of one, and asking for one.
 *
 * Asking shows first what would be done, by the same rules that do it; it is a request like any other, so that
 * whoever asks may still have to wait for another person.
 */

import { useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { When } from "./clock";
import { Banner, Sheet, Trouble, announce } from "./parts";
import { Pair } from "./reasons";
import { Link, go } from "./route";
import { me } from "./session";
import { Plain, Raw } from "./text";
import type { Action, Detail, Plan } from "./wire";
import { stateWords } from "./words";

/** Of a request about a rollback: what it would take back, said above everything else. */
export function TakesBack({ detail }: { detail: Detail }) {
  const { takes_back: taken } = detail;
  if (!taken) return null;
  return (
    <Banner title={`A rollback${taken.asked_by ? `, asked for by ${taken.asked_by}` : ""}`}>
      <p>
        It takes back <Link to={`/a/${taken.action}`}><Plain text={taken.title} /></Link>, which ran.
        {taken.until ? (
          <>
            {" "}
            Possible until <When at={taken.until} />.
          </>
        ) : null}
      </p>
    </Banner>
  );
}

/** Of an action: the one it took back, the one that takes it back, and a way to ask. */
export function Rollback({ action, reversible, onAsked }: { action: Action; reversible: boolean; onAsked: () => void }) {
  const { rollback } = action;
  const asks = me.value?.person.roles.some((role) => role === "reviewer" || role === "operator") ?? false;
  const spent = rollback !== null && !ENDED_WITHOUT_EFFECT.includes(rollback.state);
  return (
    <>
      {action.undoes ? (
        <p class="meta">
          A rollback: it takes back <Link to={`/a/${action.undoes}`}>another action</Link>.
        </p>
      ) : null}
      {rollback ? (
        <p class="meta">
          {rollback.state === "succeeded" ? "Taken back by " : "Its rollback: "}
          <Link to={`/a/${rollback.id}`}>
            {rollback.state === "succeeded" ? "its rollback" : stateWords(rollback.state)}
          </Link>
          .
        </p>
      ) : null}
      {action.state === "succeeded" && reversible && asks && !spent ? <Ask action={action} onAsked={onAsked} /> : null}
    </>
  );
}

const ENDED_WITHOUT_EFFECT = ["denied", "failed", "rejected", "expired", "withdrawn", "revoked"];

function Ask({ action, onAsked }: { action: Action; onAsked: () => void }) {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const [busy, setBusy] = useState(false);

  const look = async (): Promise<void> => {
    setRefused(null);
    try {
      setPlan(await api.rollbackPlan(action.id));
    } catch (error) {
      setRefused(refusal(error));
    }
  };

  const ask = async (): Promise<void> => {
    if (busy) return;
    setBusy(true);
    try {
      const { rollback } = await api.rollback(action.id);
      setPlan(null);
      announce(`The rollback: ${stateWords(rollback.state)}.`);
      onAsked();
      if (rollback.state === "held" && rollback.approval) go(`/a/${rollback.approval.id}`);
    } catch (error) {
      setRefused(refusal(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <>
      {refused && !plan ? <Trouble refused={refused} /> : null}
      <div class="buttons start">
        <button type="button" onClick={() => void look()}>
          Take it back…
        </button>
      </div>
      <Sheet title="Take it back" open={plan !== null} onClose={() => setPlan(null)}>
        {plan ? (
          <>
            <p class="subject">
              <Plain text={plan.undo.title} />
            </p>
            {refused ? <Trouble refused={refused} /> : null}
            <dl class="pairs">
              <Pair name="If it goes wrong">
                {plan.undo.worst_case ? <Plain text={plan.undo.worst_case} /> : "The catalogue does not say."}
              </Pair>
              <Pair name="The policy">
                {PLANNED[plan.undo.decision] ?? `It waits for ${plan.undo.owner ?? "a person"}, and not for you alone.`}{" "}
                <Plain text={plan.undo.reason} />
              </Pair>
              {plan.until ? (
                <Pair name="Possible until">
                  <When at={plan.until} />
                </Pair>
              ) : null}
              <Pair name="Topic">
                <code>{plan.undo.topic}</code>
              </Pair>
            </dl>
            <div class="field">
              <Raw value={plan.undo.args} label="Arguments of the rollback" />
            </div>
            <div class="buttons">
              <button type="button" onClick={() => setPlan(null)}>
                Cancel
              </button>
              <button type="button" class="primary" aria-disabled={busy} onClick={() => void ask()}>
                {busy ? "Sending…" : "Take it back"}
              </button>
            </div>
          </>
        ) : null}
      </Sheet>
    </>
  );
}

const PLANNED: Record<string, string> = {
  allow: "It runs at once.",
  allow_with_constraints: "It runs at once, within limits.",
  deny: "It is denied.",
};
