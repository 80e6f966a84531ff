//! Runs, and how far they are.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_null, boolean, integer, integer_null, string,
    string_null, text, text_null, uuid, uuid_null,
};

use super::{NewTable, key};

pub(super) fn tables() -> Vec<NewTable> {
    vec![runs(), plans(), stages(), resolutions(), values(), chunk_tables(), results()]
}

/// One execution of a job.
fn runs() -> NewTable {
    let table = Table::create()
        .table("runs")
        .col(uuid("id").primary_key())
        .col(uuid("job"))
        .col(uuid("workspace"))
        .col(text("name"))
        .col(text("template"))
        // The digest of what it does, JSON of what its expressions know from its start, and JSON of
        // what it may cost and where it may run.
        .col(string("plan"))
        .col(text("scope"))
        .col(text("terms"))
        .col(big_integer_null("timeout_secs"))
        // The run and the stage that wait for it.
        .col(uuid_null("parent"))
        .col(big_integer_null("parent_stage"))
        // What most of its tasks may use, so that a list of runs reads no plans.
        .col(big_integer("task_cpu_millis"))
        .col(big_integer("task_memory_mib"))
        .col(big_integer("task_timeout_secs"))
        .col(string("state"))
        .col(string_null("phase"))
        // JSON: when it entered its states and phases.
        .col(text("times"))
        // The number of the next stage that is no block's own.
        .col(big_integer("next_stage"))
        // The number of the next value that one of its blocks gives.
        .col(big_integer("next_value"))
        // What it gives at its end.
        .col(binary_null("output"))
        // How many chunks it works on, and how many its source has.
        .col(big_integer_null("total"))
        .col(big_integer_null("found"))
        // Tasks that were accepted, and those of them without results.
        .col(big_integer("done"))
        .col(big_integer("empty"))
        // In 1e-8 credits: what it has reserved, and what its attempts were paid.
        .col(big_integer("held"))
        .col(big_integer("captured"))
        // What its paid attempts used: CPU milliseconds, and MiB times milliseconds.
        .col(big_integer("cpu_ms"))
        .col(big_integer("memory_mib_ms"))
        .col(text_null("warning"))
        .col(text_null("error"))
        .col(big_integer("started_us"))
        // NULL again while a run that failed is delivered again.
        .col(big_integer_null("ended_us"))
        // When its hold was first given back and its line of the statement was written.
        .col(big_integer_null("settled_us"))
        // Its data has been deleted from the bucket.
        .col(boolean("purged"))
        .take();
    let then = vec![
        "CREATE INDEX runs_job ON runs (job)",
        "CREATE INDEX runs_ended ON runs (purged, ended_us)",
        "CREATE INDEX runs_workspace ON runs (workspace, ended_us)",
        // What the latest runs of a template have cost.
        "CREATE INDEX runs_template ON runs (workspace, template, ended_us)",
        // Cancelled, with nodes that still have to stop.
        "CREATE INDEX runs_ending ON runs (state) WHERE state = 'ending'",
    ];
    NewTable { table, then }
}

/// What runs do, in JSON; runs of the same plan share it.
fn plans() -> NewTable {
    let table =
        Table::create().table("plans").col(string("digest").primary_key()).col(text("body")).take();
    NewTable { table, then: vec![] }
}

/// An opened block of a run.
fn stages() -> NewTable {
    let table = Table::create()
        .table("stages")
        .col(uuid("run"))
        .col(integer("no"))
        .col(integer("block"))
        // The stage that opened it, and for which element of its list.
        .col(integer_null("parent"))
        .col(big_integer_null("item"))
        // Postcard: how far it is.
        .col(binary("cursor"))
        .col(big_integer("opened_us"))
        // How many values its run had by then.
        .col(big_integer("seen"))
        .col(big_integer_null("ended_us"))
        // It has ended because its run has, or because its condition was false.
        .col(boolean("cut_off"))
        .col(boolean("skipped"))
        .primary_key(&mut key(&["run", "no"]))
        .take();
    NewTable { table, then: vec![] }
}

/// What the expressions of a stage have given.
fn resolutions() -> NewTable {
    let table = Table::create()
        .table("resolutions")
        .col(uuid("run"))
        .col(integer("stage"))
        // JSON.
        .col(text("body"))
        .primary_key(&mut key(&["run", "stage"]))
        .take();
    NewTable { table, then: vec![] }
}

/// What the blocks of a run have given to those after them.
fn values() -> NewTable {
    let table = Table::create()
        .table("run_values")
        .col(uuid("run"))
        .col(big_integer("seq"))
        .col(text("name"))
        // The stage with which it is forgotten, and of which element of that stage's list it is.
        .col(integer_null("within"))
        .col(big_integer_null("item"))
        // Text, which may have NUL.
        .col(binary("value"))
        .primary_key(&mut key(&["run", "seq"]))
        .take();
    NewTable { table, then: vec![] }
}

/// What a data block of a run has found or cut.
fn chunk_tables() -> NewTable {
    let table = Table::create()
        .table("chunk_tables")
        .col(uuid("run"))
        .col(integer("block"))
        // Postcard.
        .col(binary("chunks"))
        .primary_key(&mut key(&["run", "block"]))
        .take();
    NewTable { table, then: vec![] }
}

/// A file of a run's final output.
fn results() -> NewTable {
    let table = Table::create()
        .table("results")
        .col(uuid("run"))
        .col(string("name"))
        // In bytes.
        .col(big_integer("size"))
        // Its path in the bucket, where it was not delivered elsewhere.
        .col(text_null("blob"))
        .col(text_null("digest"))
        .primary_key(&mut key(&["run", "name"]))
        .take();
    NewTable { table, then: vec![] }
}
