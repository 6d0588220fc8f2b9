/** The console's frame: header, the page of the address, footer. */

import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Decision } from "./decision";
import { Inbox } from "./inbox";
import { Help, helpOpen } from "./keys";
import { isLive, liveWords } from "./live";
import { Banner, Spoken, Trouble } from "./parts";
import { recovery } from "./recovery";
import { Link, route } from "./route";
import { me, restoreSession, sessionTrouble, signOut } from "./session";
import { SignIn, SignedOut } from "./sign_in";
import { Stop, Stopped } from "./stop";
import { Plain } from "./text";
import { Tools } from "./tools";
import { shortHash } from "./words";

function Wordmark() {
  return (
    <Link to="/" class="wordmark" label="Interlock, to the inbox">
      <svg viewBox="0 0 24 24" aria-hidden="true" class="sign">
        <path d="M8.5 4.5H4.5v15h4M15.5 4.5h4v15h-4" />
        <path d="M8 12h8" class="bar" />
      </svg>
      <span>Interlock</span>
    </Link>
  );
}

function Header() {
  const person = me.value;
  return (
    <header class="top">
      <Wordmark />
      {person ? (
        <>
          <p class={isLive.value ? "live" : "live off"}>
            <svg class="glyph" viewBox="0 0 16 16" aria-hidden="true">
              <circle cx="8" cy="8" r="4" class={isLive.value ? "solid" : "stroke"} />
            </svg>
            <span>{liveWords}</span>
          </p>
          <nav class="ways" aria-label="Pages">
            <Link to="/tools" current={route.value.page === "tools"}>
              Tools
            </Link>
            <Link to="/stop" class="stop-link" current={route.value.page === "stop"}>
              Stop
            </Link>
          </nav>
          <div class="who">
            <span class="name">{person.person.name}</span>
            <button type="button" class="quiet" onClick={() => void signOut()}>
              Sign out
            </button>
          </div>
        </>
      ) : null}
    </header>
  );
}

function Footer() {
  const person = me.value;
  if (!person) return null;
  return (
    <footer class="foot">
      {person.policy ? (
        <span>
          Policy {person.policy.name}, <code title={person.policy.snapshot}>{shortHash(person.policy.snapshot)}</code>
        </span>
      ) : (
        <span>No policy is active</span>
      )}
      {person.solo ? <span>Solo: one person decides, and every entry says so</span> : null}
      <button type="button" class="quiet" onClick={() => (helpOpen.value = true)}>
        Keys <kbd>?</kbd>
      </button>
    </footer>
  );
}

function Lost() {
  useEffect(() => {
    document.title = "Not found · Interlock";
  }, []);
  return (
    <main class="gate">
      <h1>There is no such page</h1>
      <p>
        <Link to="/">To the inbox</Link>
      </p>
    </main>
  );
}

function Page() {
  const at = route.value;
  if (at.page === "sign-in") return <SignIn />;
  if (me.value === undefined) {
    return (
      <main class="gate">
        <h1 class="unseen-line">Interlock</h1>
        {sessionTrouble.value ? (
          <Trouble refused={sessionTrouble.value} retry={() => void restoreSession()} />
        ) : (
          <p class="quiet-words">Asking the server…</p>
        )}
      </main>
    );
  }
  if (me.value === null) return <SignedOut />;
  if (at.page === "inbox") return <Inbox show={at.show} />;
  if (at.page === "stop") return <Stop />;
  if (at.page === "tools") return <Tools />;
  if (at.page === "decision") return <Decision key={at.id} id={at.id} />;
  return <Lost />;
}

function Observing() {
  return (
    <Banner title="Observe mode: nothing is held" tone="alarm">
      <p>
        The policy in force only records what it would have held or denied. Everything runs, and nothing that this
        console promises holds until a policy is activated that enforces.
      </p>
    </Banner>
  );
}

function Recovering({ why }: { why: string | undefined }) {
  return (
    <Banner title="Nothing runs: part of the record may be missing" tone="alarm">
      <p>
        {why ? <Plain text={why} /> : null} Everything can be read, and every change is refused, until people have agreed
        how it goes on: <code>interlock ledger recover</code>
      </p>
    </Banner>
  );
}

function Console() {
  return (
    <>
      <Header />
      {me.value && sessionTrouble.value ? <Trouble refused={sessionTrouble.value} /> : null}
      {me.value?.policy?.mode === "observe" ? <Observing /> : null}
      {me.value && recovery.value?.required ? <Recovering why={recovery.value.why} /> : null}
      {me.value ? <Stopped /> : null}
      <Page />
      <Footer />
      <Help />
      <Spoken />
    </>
  );
}

if (route.value.page !== "sign-in") void restoreSession();
const root = document.getElementById("console");
if (root) render(<Console />, root);
