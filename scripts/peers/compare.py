"""Measures Fanfold and its peers in turn, and prints what each does in a second."""

import argparse
import asyncio
import contextlib
import io
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time

CORES = 2
ROUNDS = 2

# The smallest program there is: it ends at once. An ELF file of one segment: exit(0).
NOTHING = (
    b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00\x01\x00\x00\x00"
    + (0x400078).to_bytes(8, "little") + (64).to_bytes(8, "little") + bytes(12)
    + b"\x40\x00\x38\x00\x01\x00\x40\x00\x00\x00\x00\x00"
    + b"\x01\x00\x00\x00\x05\x00\x00\x00" + bytes(8)
    + (0x400000).to_bytes(8, "little") * 2 + (129).to_bytes(8, "little") * 2
    + (0x1000).to_bytes(8, "little")
    + b"\x31\xff\xb8\x3c\x00\x00\x00\x0f\x05"
)


def xargs(program, tasks):
    """Programs a second that xargs starts, two at a time."""
    numbers = "\n".join(map(str, range(tasks))) + "\n"
    start = time.monotonic()
    subprocess.run(["xargs", f"-P{CORES}", "-n1", program], input=numbers, text=True, check=True)
    return tasks / (time.monotonic() - start)


def hyperqueue(program, tasks):
    """Programs a second that HyperQueue runs on one worker with two cores."""
    from hyperqueue import Job, LocalCluster
    from hyperqueue.cluster import WorkerConfig

    with contextlib.redirect_stderr(io.StringIO()), LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=CORES))
        client = cluster.client()
        job = Job()
        for _ in range(tasks):
            job.program([program], stdout=None, stderr=None)
        start = time.monotonic()
        client.wait_for_jobs([client.submit(job)])
        return tasks / (time.monotonic() - start)


def procrastinate(database, tasks):
    """Durable tasks a second of Procrastinate that do nothing, once all are queued."""
    import procrastinate as peer

    async def run():
        app = peer.App(connector=peer.PsycopgConnector(conninfo=database))

        @app.task(name="nothing")
        async def nothing():
            pass

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            await nothing.batch_defer_async(*[{} for _ in range(tasks)])
            start = time.monotonic()
            await app.run_worker_async(
                wait=False, concurrency=16, install_signal_handlers=False, listen_notify=False
            )
            return tasks / (time.monotonic() - start)

    return asyncio.run(run())


def fanfold(binary, bench, row, *arguments):
    """A figure of one of Fanfold's own benchmarks."""
    command = [binary, "--json", "bench", bench, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["rows"][row]["figure"]


@contextlib.contextmanager
def database_of(url, name):
    """An empty database beside the one of this URL."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    try:
        yield url.rsplit("/", 1)[0] + "/" + name
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def measured(arguments, program):
    """One round: what each does in a second."""
    tasks = str(arguments.tasks)
    yield "xargs -P2", xargs(program, arguments.tasks)
    yield "HyperQueue", hyperqueue(program, arguments.tasks)
    yield (
        "Fanfold, containers that stay",
        fanfold(arguments.fanfold, "node", "rate", "--chunks", tasks),
    )
    with database_of(arguments.database, "peer") as url:
        yield "Procrastinate on PostgreSQL", procrastinate(url, arguments.tasks)
    with database_of(arguments.database, "ours") as url:
        yield (
            "Fanfold on PostgreSQL, no containers",
            fanfold(
                arguments.fanfold, "chunks", "rate",
                "--postgres", url, "--chunks", tasks,
            ),
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fanfold", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--tasks", type=int, default=10_000)
    arguments = parser.parse_args()
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "nothing"
        program.write_bytes(NOTHING)
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        os.chdir(folder)
        for number in range(ROUNDS):
            for name, rate in measured(arguments, str(program)):
                print(f"round {number + 1}: {name}: {rate:,.0f}/s", file=sys.stderr)
                best[name] = max(best.get(name, 0), rate)
    pairs = [
        ("Fanfold, containers that stay", "HyperQueue"),
        ("Fanfold, containers that stay", "xargs -P2"),
        ("Fanfold on PostgreSQL, no containers", "Procrastinate on PostgreSQL"),
    ]
    print(f"{arguments.tasks:,} tasks that do nothing, {CORES} cores, the better of {ROUNDS} rounds")
    for name, rate in best.items():
        print(f"  {name:40} {rate:10,.0f} /s")
    for ours, peer in pairs:
        print(f"  {ours} : {peer} = {best[ours] / best[peer]:.2f}")


if __name__ == "__main__":
    main()
