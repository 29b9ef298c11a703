"""Helper programs end with whoever runs them, whatever they were about to say."""

import asyncio

from chassis import programs

CHATTER = """
import sys
while True:
    sys.stdout.buffer.write(bytes(1 << 20))
"""


async def test_a_program_whose_output_nobody_reads_any_more_is_ended(tmp_path):
    file = tmp_path / "chatter.py"
    file.write_text(CHATTER)
    async with asyncio.timeout(20), programs.running(file, {}) as process:
        output = process.stdout
        assert output is not None
        assert await output.read(10)
        while len(vars(output)["_buffer"]) <= 2 * programs.PIECE:
            await asyncio.sleep(0.01)  # asyncio says to nobody that it has stopped to read
    assert process.returncode == -9
