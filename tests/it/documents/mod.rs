//! What is written about the product is true: documents, examples, lists, and the structure of the code.

mod architecture;
mod checklist;
mod docs;
mod examples;
mod reference;
mod systemd_units;
