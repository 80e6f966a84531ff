//! The compat APIs: each case of `tests/compat/<product>/cases`, against a real server with nodes.
//!
//! A case is a list of requests with what must be answered; `compat/case.rs` says what it can have.
//! `COMPAT_CASE=name` runs the cases alone whose file names have this text.

mod case;
mod pattern;
mod run;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use case::Case;

/// The folder of a product.
fn folder(product: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("compat").join(product)
}

/// The cases of a product, by the names of their files.
fn cases(product: &str) -> Result<Vec<(String, Case)>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder(product).join("cases"))? {
        let path = entry?.path();
        let name = path.file_stem().context("a name")?.to_string_lossy().into_owned();
        let text = fs::read_to_string(&path)?;
        let case = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        cases.push((name, case));
    }
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    ensure!(!cases.is_empty(), "{product} has no cases");
    Ok(cases)
}

/// Each row of a product's checklist names a case, a test, or says why there is none.
fn check_list(product: &str) -> Result<()> {
    let list = fs::read_to_string(folder(product).join("CHECKLIST.md"))?;
    let names: BTreeSet<String> = cases(product)?.into_iter().map(|(name, _)| name).collect();
    let mut named = BTreeSet::new();
    let rows = list.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #"));
    for row in rows {
        let proof = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let quoted: Vec<&str> = proof.split('`').skip(1).step_by(2).collect();
        let is_reasoned = proof.contains("not tested:");
        ensure!(!quoted.is_empty() || is_reasoned, "{product}: no proof in {row}");
        for name in quoted.into_iter().filter(|name| !name.contains("::")) {
            ensure!(names.contains(name), "{product}: there is no case {name}: {row}");
            named.insert(name.to_owned());
        }
    }
    let idle: Vec<_> = names.difference(&named).collect();
    ensure!(idle.is_empty(), "{product}: cases that no row names: {idle:?}");
    Ok(())
}

macro_rules! products {
    ($($product:ident with keys of $prefix:literal),* $(,)?) => {$(
        mod $product {
            #[tokio::test]
            async fn compat_cases_are_answered_as_documented() -> anyhow::Result<()> {
                let product = stringify!($product);
                super::run::all(product, $prefix, super::cases(product)?).await
            }

            #[test]
            fn compat_checklist_names_its_cases() -> anyhow::Result<()> {
                super::check_list(stringify!($product))
            }
        }
    )*};
}

products!(
    quedup with keys of "qup",
    ejjy with keys of "ff",
    tork with keys of "ff",
    daestro with keys of "ff",
);
