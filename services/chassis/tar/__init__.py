"""Streaming tar: one reader and one writer for every archive that enters or leaves Pier.

Archives are attacker's input. The reader takes an iterator of chunks of any size and never seeks; its memory is bounded
by ``Limits`` (extended headers, sparse maps), its time is linear in the bytes read, and each fault is one error class,
``errors.InvalidArgument`` with the reason BAD_ARCHIVE. Names, link targets and xattrs are bytes. It understands what
Docker's side (Go's archive/tar) does: V7, ustar, star, PAX, GNU long names, GNU and PAX sparse files 0.0, 0.1, 1.0.

    >>> for entry in Reader(chunks):
    ...     if entry.kind is Kind.FILE:
    ...         for offset, data in reader.data(): ...

It gives entries as they stand in the archive, ``..`` and absolute names included: what a name means below some
root is for ``clean_name`` and for the one who unpacks. Only the standard library is imported (unpack workers use this).

Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Extended Header"; GNU tar manual, "Tar Internals".
"""

from chassis.tar.entry import Entry, Kind, Limits, bad_archive, clean_name
from chassis.tar.reader import Reader
from chassis.tar.writer import END, Writer

__all__ = ["END", "Entry", "Kind", "Limits", "Reader", "Writer", "bad_archive", "clean_name"]
