"""Two hundred short runs leave nothing: the fixture that looks after every test looks after all of them at once."""

import concurrent.futures

from tests.engine import sh, wait_until

RUNS = 200


def test_two_hundred_runs_leave_nothing(engine):
    def run(number):
        return engine.docker("run", "--rm", *sh(f"exit {number % 100}")).returncode

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(RUNS))) == [number % 100 for number in range(RUNS)]
    wait_until(lambda: engine.ok("ps", "-aq") == "", what="all removed")
