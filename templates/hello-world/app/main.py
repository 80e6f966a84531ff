"""Changes the case of the text in data.bin, as params.app.case says."""

import json
import os

CASES = {"upper": str.upper, "lower": str.lower, "title": str.title}


def main():
    params = json.loads(os.environ["APP_PARAMS"])
    case = params.get("case", "upper")
    if case not in CASES:
        raise SystemExit(f"params.app.case: {case!r} is none of {', '.join(CASES)}")

    with open(os.path.join(os.environ["TASK_DIR"], "data.bin"), encoding="utf-8") as source:
        text = source.read()
    print(f"changing {len(text)} characters to {case} case")

    target = os.path.join(os.environ["TASK_RESULTS_DIR"], "hello_world_processed.txt")
    with open(target, "w", encoding="utf-8") as result:
        result.write(CASES[case](text))


if __name__ == "__main__":
    main()
