"""The engine with a model that reads: nobody waits for another's output."""

import asyncio
import threading

from serve.engine import TextEngine
from tests.ray.test_serve_engine import FakeModel, Output, ask


class ReadingModel(FakeModel):
    """Reads what is no order to write; `slow` is read until `go`."""

    reads_at_once = 2

    def __init__(self):
        super().__init__()
        self.go = threading.Event()

    def read(self, row):
        assert row.reads
        asked = row.messages[-1]["content"]
        if asked == "slow":
            assert self.go.wait(10)
        return None if asked == "write" else Output(f"read {asked}")

    def generate_rows(self, rows):
        assert not any(row.reads for row in rows), "reading was tried"
        return super().generate_rows(rows)


def test_who_is_read_for_waits_for_no_other():
    model = ReadingModel()

    async def use():
        engine = TextEngine(model, lambda m, name: m.load_adapter(name, None))
        try:
            slow = asyncio.create_task(engine.generate(ask("slow")))
            quick = [await engine.generate(ask(name, None, 3)) for name in ("a", "b", "write")]
            streamed = [piece.text async for piece in engine.stream(ask("c"))]
            assert not slow.done()
            model.go.set()
            return [piece.text for piece in (await slow, *quick)], streamed
        finally:
            engine.close()

    whole, streamed = asyncio.run(use())
    assert whole == ["read slow", "read a", "read b", "None:write 1 2"]
    assert streamed == ["read c"]
