"""Pydantic AI: a gate at the toolset, and a run that ends with what waits while a person decides.

1. `gated` puts a gate around tools or a toolset; `GateCapability` around every tool of an agent, those of its
   MCP servers and of other capabilities included. Both stand where the tool is called, inside all hooks: what
   is proposed are the validated arguments, what runs are the approved ones, validated once more.
2. A held call is deferred, as the framework defers one that needs an approval, where the run can end with
   `DeferredToolRequests`: in `Runs`, or where the agent's output type has it. Elsewhere the model is told,
   and the identical call attaches to what waits.
3. To approve in the framework means here: ask the gate again. ``ToolApproved``, its arguments and its
   metadata decide nothing; a call that still waits is deferred once more.
4. `Runs` keeps a run that waits under a name of its own. The proposal's checkpoint holds that name, so that
   `Runs.go_on` finds the run that waits for an action, from any process that has the agent and the gate.
5. A call is named by the model's message and the framework's id of the call: a history that is run twice
   finds the same actions; the claim runs each once, and the other run waits for its result.
6. A refusal is a failed tool result, in words. What is nobody's answer (the gate cannot be reached, a kill
   switch is on) is raised and ends the run; what was kept of it stays, and it can go on from there.
7. What a tool raises reaches the framework as without a gate, and the action is in doubt, unless the tool
   only reads or raises `NoEffect`. A `ModelRetry` in doubt becomes a failure: nothing asks to try again.
8. With ``sessions=True`` a run is a session of the gate: what it begins with is the user's turn, and what a
   gated tool answers is recorded before the model reads it. What cannot be recorded ends the run.
"""

try:
    from interlock.adapters.pydantic_ai.capability import GateCapability
    from interlock.adapters.pydantic_ai.runs import Runs
    from interlock.adapters.pydantic_ai.toolset import GatedToolset, gated, question_tool
    from interlock.adapters.saved import SavedRuns
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "pydantic_ai":
        raise
    raise ImportError("Pydantic AI is not installed here: pip install 'interlock[pydantic-ai]'") from error

__all__ = ["GateCapability", "GatedToolset", "Runs", "SavedRuns", "gated", "question_tool"]
