"""The instance's resolver: DNS at 127.0.0.11 in the sandboxes of user-defined networks. A process of its own.

It outlives netd and has no privilege: netd opens a UDP and a TCP socket inside a sandbox's namespace and hands them
over, with what is to be answered on them. It holds nothing on disk; when it dies, netd gives its successor everything.

* A **served** sandbox is one with sockets here: its resolvers, and what it is **joined** to.
* A **join** is a sandbox on a network: its names there, its addresses, its private links.
* A name that a network owns is answered here, with time to live 0, or "no such record" for another type; every other
  question goes to the sandbox's resolvers as it came, from the host's network namespace, unless ``forward`` is False.

Only the standard library is imported, and nothing after the start. Source: RFC 1035, RFC 6891 (EDNS), RFC 7766 (TCP).
"""
