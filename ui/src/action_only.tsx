/** An action by its own id: what it is, what became of it, and settling it when nobody knows. */

import { useEffect, useRef, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { contentChanged } from "./keys";
import { onNews } from "./live";
import { Onward, Outcome } from "./outcome";
import { Erased, Trouble } from "./parts";
import { Pair } from "./reasons";
import { Link } from "./route";
import { Plain } from "./text";
import type { Action } from "./wire";
import { runsWords } from "./words";

export function ActionOnly({ id }: { id: string }) {
  const [action, setAction] = useState<Action | null>(null);
  const [refused, setRefused] = useState<Refusal | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);

  const load = async (): Promise<void> => {
    try {
      const found = await api.action(id);
      document.title = `${found.title} · Interlock`;
      setAction(found);
      setRefused(null);
    } catch (error) {
      setRefused(refusal(error));
    }
  };

  useEffect(() => {
    void load().then(() => {
      contentChanged();
      requestAnimationFrame(() => heading.current?.focus({ preventScroll: true }));
    });
    return onNews((entry) => {
      if (!entry || entry.action === id || entry.kind === "subject.erased") void load();
    });
  }, []);

  return (
    <main class="decision">
      <nav class="crumbs" aria-label="Position">
        <Link to="/" class="back">
          Inbox
        </Link>
        <span class="place">Action</span>
      </nav>
      {refused ? <Trouble refused={refused} retry={() => void load()} /> : null}
      {action ? (
        <>
          <header class="subject-head">
            <h1 ref={heading} tabIndex={-1}>
              <Plain text={action.title} />
            </h1>
          </header>
          {action.erased ? <Erased /> : null}
          <Outcome action={action} state={action.state} onSettled={() => void load()} />
          <dl class="pairs">
            {action.user_message ? <Pair name="Agent was told">{action.user_message}</Pair> : null}
            <Pair name="Agent">
              <Plain text={action.agent} />
            </Pair>
            <Pair name="Topic">
              <code>{action.topic}</code>
            </Pair>
            <Pair name="Revision">{action.revision}</Pair>
            <Pair name="Runs">{runsWords(action)}</Pair>
            <Pair name="Action">
              <code>{action.id}</code>
            </Pair>
          </dl>
          {action.approval ? (
            <p>
              <Link to={`/a/${action.approval.id}`} class="button">
                {action.state === "held" ? "Open the request" : "Show the request about it"}
              </Link>
            </p>
          ) : null}
          <Onward next={null} />
        </>
      ) : (
        <h1 class="unseen-line">Action</h1>
      )}
    </main>
  );
}
