"""The packages that the clients push: shell scripts after the samples that were published."""

import base64
import io
import json
import tarfile

from wire import IMAGE

# Lists a flat folder and gives each file `num_replicas` times, as `fanout-replica` did.
PARTITIONER = r"""#!/bin/sh
[ -n "$PARTITIONER_PARAMS" ] || { echo "PARTITIONER_PARAMS is empty" >&2; exit 1; }
replicas=$(echo "$PARTITIONER_PARAMS" | sed -n 's/.*"num_replicas" *: *\([0-9]*\).*/\1/p')
[ -n "$replicas" ] || { echo "KeyError: num_replicas" >&2; exit 1; }
n=0
for file in "$SOURCE_DIR"/*; do
    [ -f "$file" ] || continue
    i=0
    while [ $i -lt "$replicas" ]; do
        cp "$file" "$CHUNKS_DIR/data_$n.bin" || exit 1
        n=$((n + 1)); i=$((i + 1))
    done
done
echo "made $n chunks"
"""

# Every task names its result alike, as `output_image.png` was.
APP = r"""#!/bin/sh
[ -n "$APP_PARAMS" ] || { echo "APP_PARAMS is empty" >&2; exit 1; }
word=$(echo "$APP_PARAMS" | sed -n 's/.*"word" *: *"\([^"]*\)".*/\1/p')
secs=$(echo "$APP_PARAMS" | sed -n 's/.*"secs" *: *\([0-9]*\).*/\1/p')
names=$(echo "$APP_PARAMS" | sed -n 's/.*"env" *: *"\([^"]*\)".*/\1/p')
echo "chunk $CHUNK_NUMBER on stdout"
echo "chunk $CHUNK_NUMBER on stderr" >&2
[ -z "$secs" ] || sleep "$secs"
case "$word" in fail) exit 3 ;; esac
[ -d "$SHARED_CACHE_DIR" ] && ! touch "$SHARED_CACHE_DIR/mine" 2>/dev/null && shared=read-only
[ -d "$USER_CACHE_DIR" ] && echo mine >> "$USER_CACHE_DIR/count" && user=$(wc -l < "$USER_CACHE_DIR/count")
{
    echo "chunk=$CHUNK_NUMBER word=$word bytes=$(wc -c < "$TASK_DIR/data.bin")"
    echo "shared=$shared user=$user."
    [ -z "$names" ] || eval "echo env=$(for name in $names; do printf '"$%s" ' "$name"; done)"
} > "$TASK_RESULTS_DIR/output.txt"
"""

# Lists without going into folders, as `zipper`, `data-assembler` and `fanin` did.
ASSEMBLER = r"""#!/bin/sh
[ -n "$ASSEMBLER_PARAMS" ] || { echo "ASSEMBLER_PARAMS is empty" >&2; exit 1; }
for file in "$TASK_RESULTS_DIR"/*; do
    [ -f "$file" ] || continue
    echo "file=$(basename "$file")" >> "$OUTPUT_DIR/report.txt"
    cat "$file" >> "$OUTPUT_DIR/report.txt"
done
echo "$ASSEMBLER_PARAMS" > "$OUTPUT_DIR/params.json"
"""


def manifest(name, **more):
    """A manifest in the spelling of the June 2025 command line: capitals here, snake case there."""
    return {
        "Name": name, "Version": "0.1", "Platform": "docker", "Entrypoint": "run.sh",
        "Description": f"{name} of a customer",
        "platform_config": {"container": IMAGE, "private_image": False},
        "device_requirements": {"min_cpu": 1, "min_memory": 1}, **more,
    }


def app_manifest(name, **more):
    """A manifest as the guides of October 2025 spell it, with secrets to inject."""
    return {
        "name": name, "version": "0.1", "platform": "docker", "entrypoint": "run.sh",
        "description": f"{name} of a customer", **more,
    }


def archive(files, folder=""):
    """The base64 of a tar archive, as both push calls want it; `folder` comes before each name."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            data = text.encode() if isinstance(text, str) else json.dumps(text).encode()
            entry = tarfile.TarInfo(folder + name)
            entry.size = len(data)
            entry.mode = 0o755 if name.endswith(".sh") else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return base64.b64encode(out.getvalue()).decode()


def package(manifest, script, template=None, folder=""):
    """A package folder as base64 tar."""
    files = {"manifest.json": manifest, "app/run.sh": script}
    if template is not None:
        files["template.json"] = template
    return archive(files, folder)
