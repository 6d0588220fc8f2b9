/** Everything a reviewer may want to know beside the change: why it was held, the agent's words, the context. */

import type { ComponentChildren } from "preact";
import { When } from "./clock";
import { Copyable } from "./parts";
import { Link } from "./route";
import { Plain } from "./text";
import type { Detail } from "./wire";
import { handoffWords, runsWords, shortHash, triggerWords } from "./words";

export function Why({ detail }: { detail: Detail }) {
  const { why } = detail;
  return (
    <section class="why" aria-labelledby="why">
      <h2 id="why">Why it was held</h2>
      <p class="said">{why.reason}</p>
      <dl class="pairs">
        <Pair name="Rule">
          <code>{why.rule}</code>
        </Pair>
        {why.triggers.length > 0 ? (
          <Pair name={why.triggers.length === 1 ? "Trigger" : "Triggers"}>{why.triggers.map(triggerWords).join("; ")}</Pair>
        ) : null}
        {why.handoff ? <Pair name="Handed over as">{handoffWords(why.handoff)}</Pair> : null}
        {why.overridden.length > 0 ? <Pair name="Set aside">{why.overridden.join(", ")}</Pair> : null}
        {why.missing.length > 0 ? (
          <Pair name="Not given">{why.missing.join(", ")}: counted at its worst</Pair>
        ) : null}
        <Pair name="Policy">
          <code title={why.policy}>{shortHash(why.policy)}</code>
        </Pair>
        <Pair name="Owner">{detail.owner}</Pair>
        {why.informed.length > 0 ? <Pair name="Also asked for by">{why.informed.join(", ")}</Pair> : null}
      </dl>
      {detail.constraint_words.length > 0 ? (
        <>
          <h3>Limits it runs under</h3>
          <ul class="plain-list">
            {detail.constraint_words.map((words) => (
              <li key={words}>{words}</li>
            ))}
          </ul>
        </>
      ) : null}
    </section>
  );
}

export function AgentWords({ detail }: { detail: Detail }) {
  if (!detail.reasoning && detail.alternatives.length === 0) return null;
  return (
    <section class="agent-words" aria-labelledby="agent-words">
      <h2 id="agent-words">The agent's reasoning</h2>
      <p class="label">Written by the agent, not verified</p>
      {detail.reasoning ? (
        <blockquote>
          <Plain text={detail.reasoning} />
        </blockquote>
      ) : null}
      {detail.alternatives.length > 0 ? (
        <>
          <h3>What it says it considered instead</h3>
          <ul>
            {detail.alternatives.map((words) => (
              <li key={words}>
                <Plain text={words} />
              </li>
            ))}
          </ul>
        </>
      ) : null}
    </section>
  );
}

export function Context({ detail }: { detail: Detail }) {
  const { context } = detail;
  return (
    <section class="context" aria-labelledby="context">
      <h2 id="context">Context</h2>
      <dl class="pairs">
        <Pair name="Agent">
          <Plain text={context.agent} />
        </Pair>
        <Pair name="On behalf of">
          {context.principal ? <Plain text={context.principal} /> : <i class="none">{detail.erased ? "erased" : "not said"}</i>}
        </Pair>
        <Pair name="Topic">
          <code>{detail.topic}</code>
        </Pair>
        <Pair name="Requested">
          <When at={detail.requested_at} />
        </Pair>
        <Pair name="Session">
          {context.session ? <Copyable text={context.session} what="session id" /> : <i class="none">{detail.erased ? "erased" : "none"}</i>}
        </Pair>
        <Pair name="Runs">{runsWords(detail.action)}</Pair>
        {context.parent_action ? (
          <Pair name="Follows from">
            <Link to={`/a/${context.parent_action}`}>
              <code>{context.parent_action}</code>
            </Link>
          </Pair>
        ) : null}
        <Pair name="Action">
          <Copyable text={detail.action_id} what="action id" />
        </Pair>
        <Pair name="Shown as">
          <Copyable text={detail.review_hash} what="review hash" />
        </Pair>
      </dl>
    </section>
  );
}

export function Pair({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}
