"""Server-sent events (HTML standard, 9.2.6) from bytes that may be cut anywhere."""


class OverlongEventError(ValueError):
    """An event that does not end."""


class EventReader:
    """Collects lines to events. Holds no more than `longest` bytes of an unfinished one."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._rest: list[bytes] = []
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that end in `piece`.

        Raises:
            OverlongEventError: one is longer than it may be.
        """
        held_back = bool(self._rest) and self._rest[-1].endswith(b"\r")
        self._rest.append(piece)
        self._size += len(piece)
        events: list[bytes] = []
        if held_back or b"\n" in piece or b"\r" in piece:
            whole = b"".join(self._rest)
            # A carriage return at the very end may be the first half of a line end.
            cut = 1 + max(whole.rfind(b"\n"), whole.rfind(b"\r", 0, len(whole) - 1))
            self._rest = [whole[cut:]]
            events = self._take(whole[:cut].splitlines())
            self._size = len(self._rest[0]) + sum(map(len, self._data))
        if self._size > self._longest:
            raise OverlongEventError(f"an event of more than {self._longest} bytes")
        return events

    def end(self) -> list[bytes]:
        """The data of the last event, where the stream ended without the empty line that would have ended it."""
        rest, self._rest = b"".join(self._rest), []
        return self._take([*rest.splitlines(), b""])

    def _take(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        for raw in lines:
            line = raw if self._begun else raw.removeprefix(b"\xef\xbb\xbf")
            self._begun = True
            if line:
                field, _, value = line.partition(b":")
                if field == b"data":
                    self._data.append(value.removeprefix(b" "))
            elif self._data:
                events.append(b"\n".join(self._data))
                self._data = []
        return events
