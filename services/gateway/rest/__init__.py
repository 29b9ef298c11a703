"""The REST face of Docker's Engine API. Docker's spellings live here and nowhere else.

A module per noun declares its handlers in a ``Routes`` table of its own; ``app`` joins the tables and serves them. A
handler takes a ``Call`` and returns a response. It raises PierErrors, which ``errors`` turns into Docker's answers.
"""
