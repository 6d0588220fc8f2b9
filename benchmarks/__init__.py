"""Measurements against a floor or a peer from the same run; each module is a script of its own."""
