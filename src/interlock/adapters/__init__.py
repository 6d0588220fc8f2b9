"""Adapters: agents that exist today meet the gate, with little or no change to their code.

1. An adapter stands on the public `Gate` and on nothing below it: it works embedded and connected alike, and
   the same rules hold in both.
2. Trusted code binds tools to topics (`calls.Topics`). Neither the model nor a tool's server names a topic,
   and two tools never share one by accident.
3. What a framework says of an approval is a claim by whoever holds its state. The gate is asked, by the
   action's id; a resume value, a snapshot or a flag decides nothing.
4. The gate stands innermost, at the tool itself: what is proposed are the arguments that would run, and what
   runs are the arguments that were approved, in the claim.
5. A framework runs nodes again, resumes twice and loses processes. The claim is what makes a call run once; a
   call that is repeated finds its action.
6. Each module imports its framework at its top and nowhere else does; `import interlock` imports none.
"""
