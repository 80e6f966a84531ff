"""Works on one chunk."""

import json
import os


def read_chunk():
    with open(os.path.join(os.environ["TASK_DIR"], "data.bin"), "rb") as chunk:
        return chunk.read()


def write_task_result(name, content):
    with open(os.path.join(os.environ["TASK_RESULTS_DIR"], name), "wb") as result:
        result.write(content)


def main():
    params = json.loads(os.environ["APP_PARAMS"])
    chunk = read_chunk()
    print(f"chunk {os.environ['CHUNK_NUMBER']}: {len(chunk)} bytes, params {params}")
    write_task_result("result.bin", chunk)


if __name__ == "__main__":
    main()
