"""Folds the results of all tasks."""

import json
import os


def read_result_files():
    folder = os.environ["TASK_RESULTS_DIR"]
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), "rb") as result:
            yield name, result.read()


def save_output_file(name, content):
    with open(os.path.join(os.environ["OUTPUT_DIR"], name), "wb") as output:
        output.write(content)


def main():
    params = json.loads(os.environ["ASSEMBLER_PARAMS"])
    print(f"params {params}")
    for name, content in read_result_files():
        save_output_file(name, content)


if __name__ == "__main__":
    main()
