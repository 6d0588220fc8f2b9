"""The words of Interlock as frozen types, canonical bytes, and errors.

This room imports nothing of ours, does no I/O, and knows no clock. A value that exists is valid: whoever
holds a `Verdict`, a `Binding` or a parsed topic need not check it again.
"""
