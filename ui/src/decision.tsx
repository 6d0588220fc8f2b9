/**
 * `/a/:id`: one request, everything a decision needs, and the decision.
 *
 * 1. An answer names the hash of what is on this screen. When something else is pending, the page stays as it
 *    was, says so, shows the difference, and no longer offers an answer.
 * 2. Approve is never focused by itself, does not follow Enter, and is dead for half a second after the
 *    content changed: no press meant for another request can land on this one.
 * 3. What cannot be done is said, not hidden: Approve stays focusable and tells what is missing.
 * 4. A refusal or a lost connection loses nothing that was typed.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { ActionOnly } from "./action_only";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { Bar } from "./bar";
import { CHANGED, Changed, newerThan } from "./changed";
import type { Newer } from "./changed";
import { Changes } from "./changes";
import { Due, When } from "./clock";
import { carry, forget } from "./drafts";
import { Edit } from "./edit";
import { Impact } from "./impact";
import { contentChanged, useKeys } from "./keys";
import { onNews } from "./live";
import { Onward, Outcome, ending } from "./outcome";
import { Banner, Erased, Trouble, announce } from "./parts";
import { settledHere } from "./queue";
import { AgentWords, Context, Why } from "./reasons";
import { Reject } from "./reject";
import { Respond } from "./respond";
import { TakesBack } from "./rollback";
import { Link, go } from "./route";
import { me } from "./session";
import { Plain, Raw } from "./text";
import type { DecisionBody, Detail } from "./wire";
import { Again, RestsOn } from "./world";
import { atLeast, meaning, stateWords } from "./words";

export function Decision({ id }: { id: string }) {
  return id.startsWith("act_") ? <ActionOnly id={id} /> : <Request id={id} />;
}

type Open = "reject" | "edit" | "respond" | null;

/** Whether what it rests on is the news. */
function drifted(detail: Detail): boolean {
  return detail.again?.because === "world";
}

/** Whether nobody can have approved what is on screen, because what it rests on was not read yet. */
function awaited(detail: Detail): boolean {
  return detail.world?.state === "unread" || detail.world?.state === "unavailable";
}

function Request({ id }: { id: string }) {
  const [shown, setShown] = useState<Detail | null>(null);
  const [newer, setNewer] = useState<Newer | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const [open, setOpen] = useState<Open>(null);
  const [busy, setBusy] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const approve = useRef<HTMLButtonElement>(null);
  const current = useRef<Detail | null>(null);
  const onward = useRef<string | null>(null);
  /** Counts looks, so that an older answer never overwrites a newer one. */
  const looks = useRef(0);
  /** Something happened while an answer was on its way. */
  const stirred = useRef(false);
  const sending = useRef(false);
  current.current = shown;

  const show = (detail: Detail): void => {
    if (detail.state === "held") onward.current = detail.position?.next ?? null;
    current.current = detail;
    setShown(detail);
    setNewer(null);
  };

  const load = async (): Promise<void> => {
    stirred.current = false;
    const look = (looks.current += 1);
    try {
      const detail = await api.approval(id);
      if (look !== looks.current) return;
      setRefused(null);
      setOpen(null);
      show(detail);
      contentChanged();
      document.title = `${detail.title} · Interlock`;
      requestAnimationFrame(() => heading.current?.focus({ preventScroll: true }));
      if (stirred.current) follow();
    } catch (error) {
      setRefused(refusal(error));
    }
  };

  /** Look at what is pending now without touching what is being read. */
  const compare = async (): Promise<Newer | null> => {
    const before = current.current;
    if (!before) return null;
    const look = (looks.current += 1);
    let now = await api.approval(id);
    // What replaced what is being read is what has to be compared with it, however often it was replaced.
    while (before.state === "held" && now.superseded_by) now = await api.approval(now.superseded_by);
    if (look !== looks.current || sending.current) return null;
    if (before.state !== "held") {
      if (ending(now) !== ending(before)) announce(meaning(ending(now)));
      show(now);
      return null;
    }
    if (now.id === before.id && now.state === "held" && awaited(before)) {
      show(now);
      contentChanged();
      if (!awaited(now)) announce("What it rests on was read.");
      return null;
    }
    const found = newerThan(before, now);
    if (found) setNewer(found);
    else show(now);
    return found;
  };

  const follow = (): void => {
    compare().catch((error: unknown) => {
      // The state of the connection is already said in the header.
      if (!refusal(error).unreached) setRefused(refusal(error));
    });
  };

  useEffect(() => {
    void load();
    return onNews((entry) => {
      const before = current.current;
      if (!before && !entry) void load();
      else if (!before || sending.current) stirred.current = true;
      else if (!entry || entry.kind === "subject.erased" || entry.kind.startsWith("kill.")) follow();
      else if (entry.approval === id || entry.action === before.action_id) follow();
    });
  }, []);

  const send = async (body: Omit<DecisionBody, "expected_hash">): Promise<void> => {
    if (!shown || busy) return;
    setBusy(true);
    setRefused(null);
    sending.current = true;
    stirred.current = false;
    try {
      const detail = await api.decide(id, { ...body, expected_hash: shown.review_hash });
      sending.current = false;
      looks.current += 1;
      forget(id);
      settledHere(id);
      setOpen(null);
      if (body.decision === "edit" && detail.superseded_by) {
        announce(`Revision ${shown.revision + 1} is made.`);
        go(`/a/${detail.superseded_by}`);
        return;
      }
      show(detail);
      contentChanged();
      scrollTo(0, 0);
      requestAnimationFrame(() => document.getElementById("outcome")?.focus());
      if (stirred.current) follow();
    } catch (error) {
      sending.current = false;
      await refuse(refusal(error));
    } finally {
      setBusy(false);
    }
  };

  const refuse = async (answer: Refusal): Promise<void> => {
    if (answer.slug === "changed" && answer.document?.current) {
      setNewer({
        id: answer.document.current.approval,
        title: CHANGED,
        words: "Your answer was not taken.",
        difference: answer.document.difference ?? [],
      });
    } else if ((answer.status === 409 || answer.status === 410) && (await settledMeanwhile())) {
      // The banner with what happened instead says more than the refusal.
    } else {
      setRefused(answer);
    }
    if (!open) scrollTo(0, 0);
  };

  const settledMeanwhile = async (): Promise<boolean> => {
    try {
      return (await compare()) !== null;
    } catch (error) {
      refusal(error);
      return false;
    }
  };

  const showCurrent = (): void => {
    setOpen(null);
    if (newer && newer.id !== id) {
      carry(id, newer.id);
      go(`/a/${newer.id}`);
    } else {
      void load();
    }
  };

  const pending = shown?.state === "held" && !newer;
  const onPosition = (to: "previous" | "next") => (): void => {
    const target = shown?.position?.[to] ?? (to === "next" ? onward.current : null);
    if (target) go(`/a/${target}`);
    else announce(to === "next" ? "This is the last request." : "This is the first request.");
  };
  useKeys({
    n: onPosition("next"),
    p: onPosition("previous"),
    d: () => document.getElementById("the-change")?.focus(),
    r: () => {
      if (pending && shown.can.reject) setOpen("reject");
    },
    "Shift+A": () => approve.current?.focus(),
  });

  if (!shown) {
    return (
      <main class="decision">
        <p class="crumbs">
          <Link to="/" class="back">
            Inbox
          </Link>
        </p>
        <h1 class="unseen-line">Request</h1>
        {refused ? <Trouble refused={refused} retry={() => void load()} /> : <p class="quiet-words">Asking the server…</p>}
      </main>
    );
  }

  const changed = newer ? <Changed newer={newer} onShow={showCurrent} /> : null;
  const trouble = refused ? <Trouble refused={refused} /> : null;
  const state = ending(shown);
  const path = refused?.document?.path;
  return (
    <main class="decision">
      <Crumbs shown={shown} />
      {open ? null : changed}
      {open ? null : trouble}
      <header class={shown.reversible ? "subject-head" : "subject-head irreversible"}>
        <h1 ref={heading} tabIndex={-1}>
          <Plain text={shown.title} />
        </h1>
        {shown.state === "held" ? (
          <p class="deadline">
            <Due at={shown.due_at} item={shown} />
          </p>
        ) : null}
        <Revision shown={shown} />
      </header>
      {shown.state === "held" ? null : (
        <>
          <Outcome
            action={shown.action}
            state={state}
            reversible={shown.reversible}
            revision={shown.revision}
            decided={shown.decided}
            onSettled={() => void load()}
          />
          <Onward newer={shown.superseded_by} next={onward.current ?? shown.position?.next ?? null} />
        </>
      )}
      <Again detail={shown} />
      <TakesBack detail={shown} />
      {shown.erased ? <Erased /> : <Impact detail={shown} />}
      <div class="columns">
        <div class="column">
          {drifted(shown) ? <RestsOn detail={shown} /> : null}
          {shown.erased ? null : <TheChange shown={shown} />}
          {drifted(shown) ? null : <RestsOn detail={shown} />}
          <AgentWords detail={shown} />
        </div>
        <div class="column side">
          <Why detail={shown} />
          <Context detail={shown} />
        </div>
      </div>
      {shown.state === "held" ? (
        <Bar
          key={shown.review_hash}
          shown={shown}
          changed={newer !== null}
          busy={busy}
          approve={approve}
          onApprove={() => void send({ decision: "approve" })}
          onOpen={setOpen}
          onShowCurrent={showCurrent}
        />
      ) : null}
      <Reject
        id={id}
        title={shown.title}
        open={open === "reject"}
        busy={busy}
        trouble={changed ?? trouble}
        onClose={() => setOpen(null)}
        onReject={(code, note) => void send({ decision: "reject", reason_code: code, ...(note ? { note } : {}) })}
      />
      <Respond
        detail={shown}
        open={open === "respond"}
        busy={busy}
        trouble={changed ?? trouble}
        onClose={() => setOpen(null)}
        onRespond={(response, note) => void send({ decision: "respond", response, ...(note ? { note } : {}) })}
      />
      <Edit
        detail={shown}
        solo={me.value?.solo ?? false}
        open={open === "edit"}
        busy={busy}
        refusedField={refused && path ? { path, words: refused.message } : null}
        trouble={changed ?? trouble}
        onClose={() => setOpen(null)}
        onEdit={(args, note) => void send({ decision: "edit", args, ...(note ? { note } : {}) })}
      />
    </main>
  );
}

function TheChange({ shown }: { shown: Detail }) {
  return (
    <section aria-labelledby="the-change">
      <h2 id="the-change" tabIndex={-1}>
        {!shown.changes.some((change) => change.before !== undefined)
          ? shown.action.executor === "question"
            ? "What is asked"
            : "What it would do"
          : shown.supersedes && shown.revision > 1
            ? `The change from revision ${shown.revision - 1}`
            : "The change"}
      </h2>
      <Changes changes={shown.changes} id="change-caption" />
      <details class="payload">
        <summary>Raw arguments</summary>
        <Raw value={shown.args} label="Raw arguments" />
      </details>
    </section>
  );
}

function Crumbs({ shown }: { shown: Detail }) {
  const { position } = shown;
  return (
    <nav class="crumbs" aria-label="Position">
      <Link to="/" class="back">
        Inbox
      </Link>
      {position && shown.state === "held" ? (
        <>
          <span class="place">
            {position.index === null ? "One" : atLeast(position.index, false)} of{" "}
            {atLeast(position.of, position.more)}
          </span>
          <span class="steps">
            {position.previous ? <Link to={`/a/${position.previous}`}>Previous</Link> : null}
            {position.next ? <Link to={`/a/${position.next}`}>Next</Link> : null}
          </span>
        </>
      ) : (
        <span class="place">
          {stateWords(shown.state)}
          {shown.decided ? (
            <>
              , <When at={shown.decided.at} />
            </>
          ) : null}
        </span>
      )}
    </nav>
  );
}

function Revision({ shown }: { shown: Detail }) {
  if (shown.revision < 2 && !shown.supersedes) return null;
  const who = shown.editor_is_you ? "you" : shown.edited_by;
  return (
    <Banner title={`Revision ${shown.revision}${who ? `, edited by ${who}` : ""}`}>
      <p>
        It went through the policy again.{" "}
        {shown.supersedes ? <Link to={`/a/${shown.supersedes}`}>Show the version before it</Link> : null}
      </p>
    </Banner>
  );
}
