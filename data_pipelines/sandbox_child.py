"""The child of `sandbox.py`: reads documents from stdin, writes their Markdown to stdout.

It has no more memory than it is given, and what the libraries print goes nowhere.
"""

import json
import os
import resource
import sys

from data_pipelines.converters import Unreadable, convert
from data_pipelines.sandbox import write_message


def main() -> None:
    """Serves until stdin ends."""
    limit = int(sys.argv[1]) * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while line := sys.stdin.buffer.readline():
        header = json.loads(line)
        data = sys.stdin.buffer.read(header["size"])
        write_message(replies, _reply(header, data))


def _reply(header: dict[str, object], data: bytes) -> dict[str, object]:
    suffix = str(header["suffix"])
    try:
        text = convert(suffix, data, int(str(header["max_pages"])))
        return {"text": text.encode(errors="replace").decode()}
    except Unreadable as exc:
        return {"reason": str(exc)}
    except MemoryError:
        return {"reason": f"the converter of {suffix[1:]} needs more than max_memory_mb"}


if __name__ == "__main__":
    main()
