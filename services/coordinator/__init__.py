"""The verbs over several services: create, start, stop, remove, reconcile; one saga each.

A library, not a service: the gateway and buildd call it with clients of imaged, netd and execd. It keeps no facts. What
it left half done is found again by owner (`reconcile`), since every thing that it makes carries its container's id.

Vocabulary. A *plan* is how a container joins networks at each start; it is kept with the container's record. The
*sandbox*, the *snapshot* and the container of one container share one id.
"""
