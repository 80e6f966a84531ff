#!/usr/bin/env bash
# One job through the API for clients of ByteNite, from the API key to the result.
#
#   bytenite.sh FILE     prints FILE in title case
#
# Needs curl and jq, and the template hello-world-template.
set -euo pipefail
: "${FANFOLD_URL:?the address of the server, such as http://127.0.0.1:8700}"
: "${FANFOLD_API_KEY:?an API key with the scopes jobs:read and jobs:write}"
file=${1:?a text file}

token=$(curl --silent --show-error --fail-with-body "$FANFOLD_URL/v1/auth/access_token" \
    --json "{\"apiKey\": \"$FANFOLD_API_KEY\"}" | jq --raw-output .token)

# Calls the API with the token; a refusal prints its message and ends the script.
call() { # method, path, more arguments of curl
    curl --silent --show-error --fail-with-body --request "$1" "$FANFOLD_URL/v1/customer$2" \
        --header "Authorization: $token" "${@:3}"
}

job=$(call POST /jobs --json '{
    "templateId": "hello-world-template",
    "name": "example for curl",
    "dataSource": {"dataSourceDescriptor": "file"},
    "dataDestination": {"dataSourceDescriptor": "bucket"},
    "params": {"app": {"case": "title"}}
}')
id=$(jq --raw-output .job.id <<<"$job")

# The upload goes to a signed link, without the token.
curl --silent --show-error --fail-with-body --upload-file "$file" \
    "$(jq --raw-output .job.dataSource.params.tempUrl <<<"$job")" >/dev/null
call PATCH "/jobs/$id/uploadcompleted" >/dev/null

call POST "/jobs/$id/run" >/dev/null
while :; do
    status=$(call GET "/jobs/$id")
    state=$(jq --raw-output .job.state <<<"$status")
    echo "job $id: $state" >&2
    case $state in
    JOB_STATE_COMPLETE) break ;;
    JOB_STATE_FAILED) jq --raw-output .job.errorMessage <<<"$status" >&2; exit 1 ;;
    esac
    sleep 1
done
# The price is a number, which jq may show as 2.688e-05.
LC_ALL=C printf 'it cost %.8f credits\n' "$(jq .job.paymentAmount <<<"$status")" >&2

# Links need no token; they are valid for 48 hours.
call GET "/jobs/$id/results" | jq --raw-output '.results[].link' |
    while read -r link; do curl --silent --show-error --fail "$link"; done
