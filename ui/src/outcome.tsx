/**
 * What became of it.
 *
 * In doubt is its own answer, never dressed as a failure: the action started, or may have, and only a person who
 * looks in the system it acted on can say whether it took effect.
 */

import { useId, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { When } from "./clock";
import { draft, forget } from "./drafts";
import { Sheet, StateShape, Trouble } from "./parts";
import { Rollback } from "./rollback";
import { Link } from "./route";
import { Plain, Raw } from "./text";
import type { Action, Detail } from "./wire";
import { answerWords, reasonWords, standing, stateWords } from "./words";

/** The state to speak of: the action's once it went past the decision, else the request's. */
export function ending(detail: Detail): string {
  const { action } = detail;
  // A recovery puts the request and its action in doubt together; settling it is the action's business alone.
  if (detail.state === "in_doubt") return action.revision === detail.revision ? action.state : detail.state;
  const ran = ["executing", "succeeded", "failed", "in_doubt", "rolled_back"].includes(action.state);
  return ["approved", "unanswered"].includes(detail.state) && (ran || action.state !== "held") ? action.state : detail.state;
}

interface OutcomeProps {
  action: Action;
  state: string;
  /** Whether the catalogue may name something that takes it back. */
  reversible?: boolean;
  /** Of the request on screen: what a later revision did is not its outcome. */
  revision?: number;
  decided?: Detail["decided"];
  onSettled: () => void;
}

export function Outcome({ action, state, reversible = true, revision, decided, onSettled }: OutcomeProps) {
  const its = revision === undefined || revision === action.revision;
  return (
    <section class={`outcome state-${state}`} aria-labelledby="outcome">
      <h2 id="outcome" tabIndex={-1}>
        <StateShape state={state} />
        {stateWords(state)}
      </h2>
      <p>{standing(action, state)}</p>
      {decided ? (
        <p class="meta">
          {answerWords(decided.decision)}
          {decided.by ? ` by ${decided.by}` : ""}, <When at={decided.at} />
          {decided.solo ? ", solo" : ""}
          {decided.reason_code ? `. ${reasonWords(decided.reason_code)}.` : ""}
        </p>
      ) : null}
      {decided?.response ? (
        <p>
          Answer: <Plain text={decided.response} />
        </p>
      ) : null}
      {decided?.note ? (
        <p>
          Note: <Plain text={decided.note} />
        </p>
      ) : null}
      {its && action.outcome && state !== "in_doubt" && state !== "rolled_back" ? (
        <p class="meta">
          Settled <When at={action.outcome.at} />
          {action.outcome.note ? (
            <>
              : <Plain text={action.outcome.note} />
            </>
          ) : null}
        </p>
      ) : null}
      {state === "in_doubt" ? <Reconcile action={action} onSettled={onSettled} /> : null}
      {its ? <Rollback action={action} reversible={reversible} onAsked={onSettled} /> : null}
      {its && action.result !== null && action.result !== undefined ? (
        <details open>
          <summary>Result</summary>
          <Raw value={action.result} label="Result" />
        </details>
      ) : null}
    </section>
  );
}

function Reconcile({ action, onSettled }: { action: Action; onSettled: () => void }) {
  const [asking, setAsking] = useState<"succeeded" | "failed" | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const [lacking, setLacking] = useState(false);
  const [busy, setBusy] = useState(false);
  const note = useId();
  const kept = draft(action.id);

  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    if (!asking || busy) return;
    if (!kept.note.trim()) {
      setLacking(true);
      document.getElementById(note)?.focus();
      return;
    }
    setBusy(true);
    try {
      await api.reconcile(action.id, asking, kept.note.trim());
      forget(action.id);
      setAsking(null);
      onSettled();
    } catch (error) {
      setRefused(refusal(error));
    } finally {
      setBusy(false);
    }
  };

  return (
    <>
      {action.outcome?.note ? (
        <p class="meta">
          <Plain text={action.outcome.note} />
        </p>
      ) : null}
      <p>
        Look in the system it acted on, then say what you found. It is never repeated by itself: your answer only
        records what happened.
        {action.executor === "permitted" && action.executor_name
          ? ` It was for ${action.executor_name} to run it: look there as well.`
          : ""}
      </p>
      <div class="buttons start">
        <button type="button" onClick={() => setAsking("succeeded")}>
          It took effect
        </button>
        <button type="button" onClick={() => setAsking("failed")}>
          It did not
        </button>
      </div>
      <Sheet
        title={asking === "succeeded" ? "It took effect" : "It did not take effect"}
        open={asking !== null}
        onClose={() => setAsking(null)}
      >
        <p class="subject">
          <Plain text={action.title} />
        </p>
        {refused ? <Trouble refused={refused} /> : null}
        <form onSubmit={(event) => void submit(event)} noValidate>
          <div class="field">
            <label for={note}>How do you know?</label>
            <textarea
              id={note}
              rows={3}
              maxLength={2000}
              aria-required="true"
              aria-invalid={lacking}
              aria-describedby={`${note}-hint`}
              defaultValue={kept.note}
              onInput={(event) => {
                kept.note = event.currentTarget.value;
                setLacking(false);
              }}
            />
            <p class={lacking ? "error" : "hint"} id={`${note}-hint`}>
              {lacking ? "Say what you looked at: somebody will rely on it." : "For example the record you found, and where."}
            </p>
          </div>
          <div class="buttons">
            <button type="button" onClick={() => setAsking(null)}>
              Cancel
            </button>
            <button type="submit" class="primary" aria-disabled={busy}>
              {busy ? "Sending…" : "Record it"}
            </button>
          </div>
        </form>
      </Sheet>
    </>
  );
}

/** Where to go from an answer. */
export function Onward({ newer = null, next }: { newer?: string | null; next: string | null }) {
  return (
    <nav class="onward" aria-label="Onward">
      {newer ? (
        <Link to={`/a/${newer}`} class="button strong">
          Show the new revision
        </Link>
      ) : next ? (
        <Link to={`/a/${next}`} class="button strong">
          Next request
        </Link>
      ) : null}
      <Link to="/" class="button">
        Back to the inbox
      </Link>
    </nav>
  );
}
