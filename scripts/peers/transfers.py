"""Measures what moves between a disk and an S3 store: a node's transfers beside s5cmd and rclone."""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROUNDS = 2
AT_ONCE = 8
CHUNK_MIB = 64
KEY, SECRET = "benchkey", "benchsecret"
READY_SECS = 60
READING, STORING = ("fetched", "stored")
# The rows of Fanfold's own report.
ROWS = {READING: "fetched and hashed", STORING: "hashed and stored"}


def free_ports(count):
    """Ports on which nobody listens, nor on those that SeaweedFS takes 10,000 above them."""
    found = []
    for port in range(12_000, 22_000, 7):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("too few ports are free")


@contextlib.contextmanager
def s3_store(weed, folder):
    """The address of a SeaweedFS of one's own, until the block ends."""
    master, volume, filer, s3 = free_ports(4)
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {"identities": [{"name": "bench", "credentials": credentials, "actions": actions}]}
        )
    )
    data = folder / "store"
    data.mkdir()
    log = (folder / "store.log").open("w")
    server = subprocess.Popen(
        [
            weed, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-s3", f"-s3.config={config}", f"-s3.port={s3}", f"-master.port={master}",
            f"-volume.port={volume}", f"-filer.port={filer}", "-volume.max=1000",
            "-master.volumeSizeLimitMB=1024", "-s3.port.iceberg=0", "-s3.port.lance=0",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        yield f"http://127.0.0.1:{s3}", folder / "store.log"
    finally:
        server.terminate()
        server.wait()


def run(command):
    """Runs a command; what it said is shown where it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")


def make_bucket(s5cmd, endpoint, log):
    """Makes the bucket, as soon as the store is there."""
    command = [s5cmd, "--endpoint-url", endpoint, "mb", "s3://bench"]
    deadline = time.monotonic() + READY_SECS
    while True:
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if made.returncode == 0:
            return
        if time.monotonic() > deadline:
            sys.exit(f"the S3 store does not start: {made.stdout}\n{log.read_text()[-2000:]}")
        time.sleep(0.5)


def megabytes(size, command):
    """Decimal megabytes a second that a command moves."""
    start = time.monotonic()
    run(command)
    return size / 1e6 / (time.monotonic() - start)


def moved(tool, size, source, folder):
    """What a tool stores and then fetches in a second; it is given two functions for commands."""
    store, fetch = tool
    back = folder / "back"
    back.mkdir()
    stored = megabytes(size, store(source))
    fetched = megabytes(size, fetch(back))
    shutil.rmtree(back)
    return {READING: fetched, STORING: stored}


def s5cmd_tool(binary, endpoint):
    """How s5cmd stores and fetches."""
    base = [binary, "--log", "error", "--endpoint-url", endpoint, "cp"]
    place = "s3://bench/s5cmd/"
    return (lambda source: [*base, f"{source}/", place], lambda to: [*base, f"{place}*", f"{to}/"])


def rclone_tool(binary, endpoint):
    """How rclone stores and fetches."""
    place = (
        f":s3,provider=Other,access_key_id={KEY},secret_access_key={SECRET},"
        f"endpoint='{endpoint}',no_check_bucket=true:bench/rclone"
    )
    # What is there from the round before is stored again.
    base = [binary, "copy", "--ignore-times", "--config", "/dev/null", "--transfers", str(AT_ONCE)]
    return (lambda source: [*base, source, place], lambda to: [*base, place, to])


def fanfold(binary, endpoint, mib):
    """What a node's own transfers move."""
    command = [
        binary, "--json", "bench", "transfers", "--endpoint", endpoint, "--bucket", "bench",
        "--size", str(mib), "--chunk", str(CHUNK_MIB),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    rows = json.loads(done.stdout)["rows"]
    return {way: rows[row]["figure"] for way, row in ROWS.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fanfold", required=True)
    parser.add_argument("--tools", required=True, help="where weed, s5cmd and rclone are")
    parser.add_argument("--size", type=int, default=1024, help="MiB")
    arguments = parser.parse_args()
    tools = pathlib.Path(arguments.tools)
    os.environ.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_REGION="us-east-1")
    size, best = arguments.size << 20, {}
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        source = folder / "source"
        source.mkdir()
        for number in range(arguments.size // CHUNK_MIB):
            (source / str(number)).write_bytes(os.urandom(CHUNK_MIB << 20))
        with s3_store(tools / "weed", folder) as (endpoint, log):
            make_bucket(tools / "s5cmd", endpoint, log)
            for number in range(ROUNDS):
                for name, rates in (
                    ("s5cmd", moved(s5cmd_tool(tools / "s5cmd", endpoint), size, source, folder)),
                    ("rclone", moved(rclone_tool(tools / "rclone", endpoint), size, source, folder)),
                    ("Fanfold", fanfold(arguments.fanfold, endpoint, arguments.size)),
                ):
                    for way, rate in rates.items():
                        print(f"round {number + 1}: {name}: {way}: {rate:,.0f} MB/s", file=sys.stderr)
                        best[name, way] = max(best.get((name, way), 0), rate)
    print(f"{arguments.size:,} MiB in pieces of {CHUNK_MIB} MiB from and to an S3 store, MB/s")
    for way in (READING, STORING):
        ours, peers = best["Fanfold", way], {name: best[name, way] for name in ("s5cmd", "rclone")}
        told = ", ".join(f"{name} {rate:,.0f}" for name, rate in peers.items())
        ratio = ours / max(peers.values())
        print(f"  {way:8} Fanfold {ours:,.0f}, {told}; of the faster peer: {ratio:.2f}")


if __name__ == "__main__":
    main()
