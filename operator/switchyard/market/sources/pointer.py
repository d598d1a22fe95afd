"""JSON pointers, RFC 6901."""

from __future__ import annotations

import re

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)
_BAD_ESCAPE = re.compile(r"~(?![01])")


def resolve(document: object, pointer: str) -> object:
    """The part of a JSON document a pointer names; "" names all of it.

    Raises:
        LookupError: the document has no such part; the message says how far the pointer led.
        ValueError: it is no pointer.
    """
    if not pointer:
        return document
    if not pointer.startswith("/") or _BAD_ESCAPE.search(pointer):
        raise ValueError(f"{pointer!r} is no JSON pointer: it begins with / and has ~ only as ~0 or ~1")
    found = document
    walked = ""
    for raw in pointer[1:].split("/"):
        key = raw.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and _INDEX.fullmatch(key) and len(key) < 10 and int(key) < len(found):
            found = found[int(key)]
        else:
            match found:
                case dict():
                    what = "an object without that key"
                case list():
                    what = f"a list of {len(found)}"
                case _:
                    what = "neither an object nor a list"
            raise LookupError(f"nothing at {pointer}: {walked or 'the document'} is {what}")
        walked += f"/{raw}"
    return found
