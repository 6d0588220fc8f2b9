/**
 * `/sign-in#<token>`: a one-time link becomes a session.
 *
 * The token stands in the fragment, which no server, proxy or link preview receives. It leaves the address
 * bar and the history before anything else happens, and is redeemed by a POST.
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { api, refusal } from "./api";
import type { Refusal } from "./api";
import { Banner, Trouble } from "./parts";
import { go } from "./route";
import { me } from "./session";

export function SignIn() {
  const token = useRef(location.hash.slice(1));
  const [refused, setRefused] = useState<Refusal | null>(null);

  const redeem = async (): Promise<void> => {
    setRefused(null);
    try {
      me.value = await api.signIn(token.current);
      go("/", true);
    } catch (error) {
      setRefused(refusal(error));
    }
  };
  useEffect(() => {
    document.title = "Sign in · Interlock";
    if (!token.current) return;
    history.replaceState(null, "", "/sign-in");
    void redeem();
  }, []);

  return (
    <main class="gate">
      <h1>Sign in</h1>
      {refused?.status === 401 ? (
        <Banner title="This link does not work any more" tone="alarm">
          <p>A link signs in once, within an hour. This one was used already, has expired, or lost a part on its way.</p>
        </Banner>
      ) : refused ? (
        <Trouble refused={refused} retry={refused.unreached ? () => void redeem() : undefined} />
      ) : null}
      {token.current && !refused ? <p class="quiet-words">Redeeming your link…</p> : <HowToSignIn />}
    </main>
  );
}

function HowToSignIn() {
  return (
    <>
      <p>
        Ask for a link: run <code>interlock keys link</code> on the server.
      </p>
      <p class="quiet-words">The link works once, and opens a session in this browser only.</p>
    </>
  );
}

/** Shown in place of a page when nobody is signed in. */
export function SignedOut() {
  useEffect(() => {
    document.title = "Sign in · Interlock";
  }, []);
  return (
    <main class="gate">
      <h1>You are not signed in</h1>
      <HowToSignIn />
    </main>
  );
}
