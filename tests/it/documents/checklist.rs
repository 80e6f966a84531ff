//! The lists of features and of attacks say the truth: every test that they name is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

fn read_all(folder: &Path, text: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path, text)?;
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            text.push_str(&fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

#[test]
fn checklist_names_existing_tests() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let features = fs::read_to_string(root.join("CHECKLIST.md"))?;
    let list = features + &fs::read_to_string(root.join("../SECURITY.md"))?;
    let mut code = String::new();
    for folder in ["../common", "../server/src", "../node/src", "../cli/src", "it", "security"] {
        read_all(&root.join(folder), &mut code)?;
    }
    let is_name = |text: &&str| {
        text.contains('_')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b))
    };

    let named: BTreeSet<&str> = list.split('`').skip(1).step_by(2).filter(is_name).collect();

    assert!(named.len() > 120, "{}", named.len());
    for name in named {
        assert!(code.contains(&format!("fn {name}()")), "{name} is on a list and nowhere else");
    }
    Ok(())
}

#[test]
fn checklists_of_compat_apis_name_existing_tests() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["../common", "../server/src", "../node/src", "it", "security"] {
        read_all(&root.join(folder), &mut code)?;
    }
    let mut count = 0;
    for product in fs::read_dir(root.join("compat"))? {
        let path = product?.path().join("CHECKLIST.md");
        let list = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for test in list.split('`').skip(1).step_by(2).filter(|text| text.contains("::")) {
            let name = test.rsplit("::").next().unwrap_or_default();
            assert!(code.contains(&format!("fn {name}(")), "{test} is on a list and nowhere else");
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
    Ok(())
}
