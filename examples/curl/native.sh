#!/usr/bin/env bash
# One job through Fanfold's own API, from the API key to the result.
#
#   native.sh FILE     prints FILE in title case
#
# Needs curl and jq, and the template hello-world-template.
set -euo pipefail
: "${FANFOLD_URL:?the address of the server, such as http://127.0.0.1:8700}"
: "${FANFOLD_API_KEY:?an API key with the scopes jobs:read and jobs:write}"
file=${1:?a text file}

# Calls the API with the key; a refusal prints its problem document and ends the script.
call() { # method, path, more arguments of curl
    curl --silent --show-error --fail-with-body --request "$1" "$FANFOLD_URL$2" \
        --header "Authorization: $FANFOLD_API_KEY" "${@:3}"
}

# A draft of a job. An Idempotency-Key makes it safe to repeat the call after a lost answer.
draft=$(jq --null-input --arg name "$(basename "$file")" '{
    template: "hello-world-template",
    name: "example for curl",
    source: {type: "file", name: $name},
    destination: {type: "bucket"},
    params: {app: {case: "title"}}
}')
job=$(call POST /v1/jobs --header "Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)" \
    --json "$draft")
id=$(jq --raw-output .id <<<"$job")

# The upload goes to a signed link, without the key.
curl --silent --show-error --fail-with-body --upload-file "$file" \
    "$(jq --raw-output .upload_link <<<"$job")" >/dev/null
call POST "/v1/jobs/$id/upload" >/dev/null

run=$(call POST "/v1/jobs/$id/runs" | jq --raw-output .run.id)
while :; do
    status=$(call GET "/v1/runs/$run")
    state=$(jq --raw-output .state <<<"$status")
    echo "run $run: $state" >&2
    case $state in
    succeeded) break ;;
    failed | cancelled) jq --raw-output .error <<<"$status" >&2; exit 1 ;;
    esac
    sleep 1
done
echo "it cost $(jq --raw-output .price <<<"$status") credits" >&2

# Links need no key; they are valid for 48 hours.
call GET "/v1/runs/$run/results" | jq --raw-output '.files[].link' |
    while read -r link; do curl --silent --show-error --fail "$link"; done
