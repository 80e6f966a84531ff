//! What fields are called everywhere: the words of those whose structs and tables say no more.
//!
//! A field is described where it is defined if it means something of its own there. Most do not:
//! `createdAt` is the same in thirty places, and stands here once.

use serde_json::{Map, Value};

/// Describes every property and parameter that has no words of its own.
pub fn describe(document: &mut Value) {
    match document {
        Value::Object(map) => {
            // A property may be called `properties` itself.
            let is_object = map.get("type").is_some_and(|kind| kind == "object");
            if is_object && let Some(Value::Object(properties)) = map.get_mut("properties") {
                for (name, schema) in properties.iter_mut() {
                    if let Value::Object(schema) = schema {
                        put(name, schema);
                    }
                }
            }
            if let Some(Value::String(name)) = map.get("name").filter(|_| map.contains_key("in")) {
                let name = name.clone();
                put(&name, map);
            }
            map.values_mut().for_each(describe);
        }
        Value::Array(items) => items.iter_mut().for_each(describe),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn put(name: &str, field: &mut Map<String, Value>) {
    let has_words = |text: &Value| text.as_str().is_some_and(|text| !text.is_empty());
    if field.get("description").is_some_and(has_words) {
        return;
    }
    if let Some((_, words)) = WORDS.iter().find(|(known, _)| *known == name) {
        field.insert("description".to_owned(), Value::String((*words).to_owned()));
    }
}

const WORDS: &[(&str, &str)] = &[
    ("@type", "The kind of details, as Google's error model names it"),
    ("accessKey", "The half of the secret that is shown: a key's id, an account or a user name"),
    ("account", "The account of the caller's workspace"),
    ("accountFrom", "The account that the credits left"),
    ("accountId", "The workspace's id"),
    ("accountTo", "The account that the credits went to"),
    ("accountType", "Whose the account is"),
    ("accounts", "Accounts that were added up"),
    ("address1", "Street and number"),
    ("address2", "More of the address"),
    ("amount", "Credits"),
    ("apiKey", "The key, without its text"),
    ("apiKeys", "The workspace's keys, without their texts"),
    ("app", "The app, by its tag; of params, those of the app"),
    ("apps", "A page of apps"),
    ("assembler", "The assembler, by its tag; of params or logs, those of the assembler"),
    ("assignedAt", "When a node was given it"),
    ("attempt", "The number of the attempt, from 1"),
    ("available", "Credits that can be spent now"),
    ("availableBalance", "Credits that can be spent now, without what runs hold"),
    ("basis", "What the forecast rests on"),
    ("billingProfileId", "Always empty: no payment provider is connected"),
    ("blacklist", "Regions that may not work on the job"),
    ("bytes", "Bytes that are kept now"),
    ("call", "What a job of the kind call does"),
    ("cancelMessage", "Why; it is kept as the top-up's note"),
    ("cause", "Why it failed or was cancelled; null where it did not"),
    ("checks", "Each check and what it found"),
    ("chunkNumber", "The chunk that the task works on, from 0"),
    ("chunks", "Chunks that the job works on"),
    ("chunksDone", "Chunks that are done"),
    ("city", "City"),
    ("code", "The code of the coupon"),
    ("company", "Company"),
    ("completedAt", "When it ended"),
    ("config", "Timeouts, retries and the like"),
    ("confirmImmediately", "Always false"),
    ("confirmedAt", "When the money arrived"),
    ("contactInfo", "How to reach the user"),
    ("container", "What wrote the line: a container or its node"),
    ("context", "What its expressions know"),
    ("cores", "Its processor's cores"),
    ("country", "Country"),
    ("coupon", "The coupon"),
    ("couponCode", "The coupon's code"),
    ("cpu", "Its processor"),
    ("cpuHours", "vCPU hours that were used"),
    ("cpuSeconds", "vCPU seconds that were used"),
    ("createdAt", "When it was made"),
    ("created_at", "When it was made"),
    ("credits", "Credits, as a decimal text"),
    ("csv", "Lines of comma-separated values; the first names the columns"),
    ("currency", "Three letters, such as USD"),
    ("currencyAmount", "Money, in the currency beside it"),
    ("customClaims", "Always null"),
    ("data", "The page's rows"),
    ("dataDestination", "Where the results go"),
    ("dataSource", "Where the data comes from"),
    ("definition", "The version of the definition"),
    ("deletedAt", "When it was deleted"),
    ("description", "What it is, in its owner's words"),
    ("destination", "Where the results go"),
    ("details", "What went wrong, for programs"),
    ("deterministic", "Whether the same input always gives the same results"),
    ("device", "The machine that had the attempt"),
    ("deviceId", "Takes no part; older clients send it"),
    ("deviceRequirements", "What a node must have: minCpu, minMemory and minDisk in GiB, gpu"),
    ("digest", "SHA-256 of the image's archive"),
    ("directories", "The folders in it"),
    ("displayName", "Both names, or the username where there are none"),
    ("docs", "The page of the documents"),
    ("domain", "Always fanfold"),
    ("duration", "Seconds from the first look at the source to the end"),
    ("email", "E-mail address"),
    ("emailVerified", "Whether a code that was sent there came back"),
    ("endedAt", "When it ended"),
    ("ended_at", "When it ended"),
    ("engine", "The container engine of the machine"),
    ("engineId", "The engine's id"),
    ("engineLink", "A link to the engine's archive"),
    ("engineStatus", "active or inactive"),
    ("engineTag", "The engine as name@major.minor"),
    ("engines", "A page of engines"),
    ("entrypoint", "The file in the package's app folder that is run"),
    ("environment", "The compute environment"),
    ("error", "Why it failed or, while it waits, why; null or empty otherwise"),
    ("errorMessage", "Why it failed or, while it waits, why; empty otherwise"),
    ("estimation", "What the job is estimated to cost"),
    ("exchangeRate", "The price of one credit, in the currency beside it"),
    ("expireAt", "When the code ends"),
    ("expires", "When the link ends, in seconds since 1970"),
    ("expiresAt", "When it ends; null is never"),
    ("expiresIn", "Seconds that the token lives"),
    ("externalId", "Always empty: no payment provider is connected"),
    ("field", "The field that is compared"),
    ("file", "The file's place"),
    ("filename", "The file's name"),
    ("files", "The files in it"),
    ("fingerprint", "The beginning of the key's hash, to tell keys apart"),
    ("firstName", "First name"),
    ("flow", "Limits that calls with the same key share"),
    ("gpus", "Its GPUs"),
    ("gracePeriodEndAt", "Always null: nothing is owed"),
    ("hasNext", "Whether there are rows after these"),
    ("hasPrevious", "Whether there are rows before these"),
    ("hash", "SHA-256 of the archive, in base64"),
    ("health", "What load balancers ask"),
    ("hold", "What is held for it until it ends"),
    ("holder", "Whom the link was made for"),
    ("id", "Its id"),
    ("images", "A page of images"),
    ("inputBytes", "Bytes that the task read"),
    ("isPublic", "Whether everybody can find and import it"),
    ("isTestJob", "Works on the first two chunks only, and also with packages that are not active"),
    ("issuedAt", "When the key was made"),
    ("job", "The job"),
    ("jobId", "The job's id"),
    ("jobName", "The job's name when it began"),
    ("jobTemplate", "The template that the job was made of"),
    ("jobTemplateId", "The template's id"),
    ("jobTimeout", "Seconds that the whole job may take; 0 is no limit"),
    ("jobTitle", "Job title"),
    ("jobTypes", "A row for each template"),
    ("jobs", "How many jobs"),
    ("jobsIds", "The jobs' ids"),
    ("key", "The API key, or its id"),
    ("kind", "What kind it is"),
    ("lastLogin", "When the user last signed in"),
    ("lastName", "Last name"),
    ("last_attempt", "The task's latest attempt; null before the first"),
    ("lends", "What it lends; null while it is silent"),
    ("level", "How grave the line is"),
    ("limit", "Maximum number of rows"),
    ("link", "Where the file can be fetched, or where it was delivered; empty where there is none"),
    ("log", "The line"),
    ("loginChallenge", "Takes no part; older clients send it"),
    ("logs", "Lines, oldest first"),
    ("major", "The first number of the version"),
    ("maxTaskRetries", "Further tries of a task that failed"),
    ("member", "The user's id, or the invitation's"),
    ("members", "Members and those who are invited"),
    ("memoryGibHours", "GiB hours of memory that were used"),
    ("memoryMib", "Its memory, in MiB"),
    ("memoryPeakBytes", "The most memory that was used at once"),
    ("message", "What happened, for people"),
    ("messages", "What the server's owner tells everybody"),
    ("metadata", "More about it; `field` names the field that is wrong, `requestId` the request"),
    ("minor", "The second number of the version"),
    ("money", "What was paid, or is paid out; null where no money is about"),
    ("month", "As 2026-01, in UTC"),
    ("name", "Its name"),
    ("next_cursor", "The cursor that asks for the next page; null where there is none"),
    ("node", "The node's id"),
    ("nodeId", "The node's id"),
    ("nodes", "Nodes"),
    ("nodesBusy", "Nodes that work on the job now"),
    ("nonce", "Goes back with the code"),
    ("notes", "Always empty"),
    ("numChunks", "Chunks that the job works on, one task each; 0 until they are known"),
    ("ok", "Whether it was done"),
    ("openapi", "The OpenAPI document of everything"),
    ("os", "Its operating system"),
    ("outputBytes", "Bytes of the task's results"),
    ("owner", "The id of the workspace that it belongs to"),
    ("ownerId", "The id of the user who asked for it, or whose it is"),
    ("pagination", "Which part of the list this is"),
    ("params", "Params as they were given"),
    ("partitioner", "The partitioner, by its tag; of params or logs, those of the partitioner"),
    ("path", "The path with its folders"),
    ("paymentAmount", "Credits that were charged"),
    ("payoutProfileId", "Always empty: payouts are made by the server's owner"),
    ("payoutRequest", "The payout"),
    ("payoutRequests", "Payouts, newest first"),
    ("phase", "The part of the run that is under way, while it runs"),
    ("phoneNumber", "Phone number"),
    ("photoUrl", "Always empty"),
    ("platform", "What it runs in"),
    ("platformConfig", "The image, whether it is private, and the secrets that it asks for"),
    ("pool", "The pool"),
    ("presets", "Always empty: templates have defaults in their place"),
    ("price", "Credits that were charged, with eight decimals"),
    ("prices", "What an hour of a vCPU and of a GiB costs"),
    ("priority", "How soon the job gets nodes, against other jobs"),
    ("project", "The project's name: jobs of other projects are not found under it"),
    ("properties", "What else is known of the source"),
    ("providerId", "Always empty"),
    ("queue", "The queue"),
    ("quote", "What the run would cost"),
    ("ready", "Whether the database and the bucket answer"),
    ("reasons", "Why it waits, one a line"),
    ("receivedAt", "When the node had it"),
    ("redirectTo", "Always empty: there is no page to go to"),
    ("reference", "What the image is called"),
    ("region", "Where it is, in its owner's words"),
    ("regions", "Where the job may run: whitelist and blacklist"),
    ("relatedEntity", "What the transaction belongs to"),
    ("relatedEntityData", "More about what the transaction belongs to"),
    ("request", "The id of the request"),
    ("requestId", "The id of the request, as in the header X-Request-Id and in the server's log"),
    ("requireResults", "Whether a task without results has failed"),
    ("results", "The result files"),
    ("revenueShare", "Always null: the whole price goes to the nodes"),
    ("revision", "How often this version was pushed"),
    ("revoked", "Whether the key was revoked"),
    ("role", "What the member may do"),
    ("run", "The run, or its id"),
    ("runningAt", "When its container began"),
    ("schedule", "The schedule"),
    ("secret", "The secret without its value"),
    ("secretType", "What the secret opens; s3 is the old name of aws"),
    ("secrets", "Secrets, without their values"),
    ("sentAt", "When it was sent"),
    ("serviceAccount", "Always false"),
    ("shouldDowngradeTier", "Always false"),
    ("shouldRecoverCompletely", "Always false"),
    ("signature", "What makes the link valid"),
    ("since", "Since when"),
    ("size", "Its size in bytes"),
    ("skip", "Whether a sign-in may be skipped"),
    ("source", "Where the data comes from"),
    ("stage", "What the task works on"),
    ("startAt", "No earlier than this may the work begin"),
    ("startedAt", "When the run was accepted"),
    ("state", "How far it is; of an address, the state or province"),
    ("stateTimestamps", "When each state was entered"),
    ("status", "Whether it takes jobs"),
    ("stopped_by", "Why it hands out nothing; null where it hands out"),
    ("storage", "What the workspace keeps now"),
    ("submittedAt", "When the run was asked for"),
    ("tag", "name, name@M or name@M.m; for what others publish with OWNER/ before it"),
    ("tags", "Labels of the job's owner"),
    ("task", "The task's id, or its index"),
    ("taskPrice", "Credits that one task is estimated to cost"),
    ("taskSecs", "Seconds that one task is estimated to run"),
    ("taskTimeout", "Seconds that one attempt of a task may take; 0 is the server's default"),
    ("tasks", "Tasks, or how many of them"),
    ("tasksRunning", "Tasks that run now"),
    ("tempUrl", "Where to PUT the file; empty where none is to be uploaded"),
    ("template", "The template, or its id"),
    ("templateId", "The template's id"),
    ("templateInfo", "The template as it was when the job was made"),
    ("templates", "A page of templates"),
    ("test", "The test's id, or the id or tag of its app"),
    ("tier", "Always null: there are no tiers"),
    ("timestamp", "When it was written"),
    ("token", "The token: it is shown this once"),
    ("topUpRequest", "The top-up"),
    ("topupType", "Always empty"),
    ("totalBalance", "Credits with what runs hold"),
    ("transactionData", "Always empty"),
    ("transactionType", "What moved the credits"),
    ("transfers", "Transfers that were added up"),
    ("type", "What it is"),
    ("updatedAt", "When it was last changed"),
    ("url", "The address"),
    ("usage", "What it used"),
    ("used", "What its tasks take of that now"),
    ("user", "The user"),
    ("userId", "The user's id"),
    ("userName", "What the owner is called: the OWNER of OWNER/NAME"),
    ("username", "What the user is called; of their own workspace the OWNER in OWNER/NAME"),
    ("uses", "How often it was redeemed"),
    ("usesMax", "How often it can be redeemed"),
    ("version", "The version, as major.minor"),
    ("wallSeconds", "Seconds from its start to its end"),
    ("whitelist", "Regions that alone may work on the job; empty is all"),
    ("workspace", "The workspace's id"),
    ("workspaceId", "The workspace's id"),
    ("workspaces", "The user's workspaces"),
    ("zip", "Postal code"),
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn glossary_is_sorted_and_has_each_word_once() {
        assert!(WORDS.is_sorted_by(|(a, _), (b, _)| a < b));
    }

    #[test]
    fn field_description_of_its_own_is_kept() {
        let mut document = json!({"a": {"type": "object", "properties": {
            "createdAt": {"type": "string"},
            "id": {"type": "string", "description": "The test's"},
            "role": {"$ref": "#/x", "description": ""},
        }}, "b": [{"in": "query", "name": "limit"}]});

        describe(&mut document);

        let fields = &document["a"]["properties"];
        assert_eq!(fields["createdAt"]["description"], "When it was made");
        assert_eq!(fields["id"]["description"], "The test's");
        assert_eq!(fields["role"]["description"], "What the member may do");
        assert_eq!(document["b"][0]["description"], "Maximum number of rows");
    }
}
