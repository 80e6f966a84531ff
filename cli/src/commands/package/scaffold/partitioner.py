"""Cuts the source into chunks: each becomes one task."""

import json
import os


def read_source_files():
    folder = os.environ["SOURCE_DIR"]
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as source:
            yield name, source.read()


def save_chunk(number, content):
    with open(os.path.join(os.environ["CHUNKS_DIR"], f"data_{number}.bin"), "wb") as chunk:
        chunk.write(content)


def main():
    params = json.loads(os.environ["PARTITIONER_PARAMS"])
    print(f"params {params}")
    for number, (_, content) in enumerate(read_source_files()):
        save_chunk(number, content)


if __name__ == "__main__":
    main()
