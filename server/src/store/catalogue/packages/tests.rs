//! Whose packages and templates a name stands for.

use common::package::tag::Tag;
use common::package::template::Template;
use serde_json::json;

use super::*;
use crate::store::catalogue::imports::Import;
use crate::store::catalogue::templates;
use crate::store::catalogue::templates::TemplateField;
use crate::store::people::workspaces;
use crate::store::query::selection::{Rest, Selection, Start};
use crate::store::testing::{databases, every_order_is_led_through};

async fn pushed(db: &Db, owner: WorkspaceId, version: &str) -> Package {
    let text = json!({"name": "a", "version": version, "platform": "binary", "entrypoint": "m"});
    let (manifest, _) = Manifest::parse(text.to_string().as_bytes()).unwrap();
    let schema = json!({"type": "object"});
    let digest = Digest::of(b"a");
    let pushed = Pushed { manifest: &manifest, schema: Some(&schema), digest, size: 1 };
    push(db, owner, pushed).await.unwrap()
}

async fn imported(db: &Db, user: WorkspaceId, owner: WorkspaceId) {
    let import = Import { owner, secrets: vec!["s".to_owned()] };
    for item in [Item::Package(Family::App), Item::Template] {
        imports::put(db, user, item, "a", &import).await.unwrap();
    }
    let item = Item::Package(Family::App);
    assert_eq!(imports::find(db, user, item, "a").await.unwrap(), Some(import));
}

#[tokio::test]
async fn name_selects_own_packages_or_imported_ones_while_they_are_published() {
    for fresh in databases().await {
        let db = &fresh.db;
        let maria = workspaces::create_workspace(db, "maria").await.unwrap();
        let paul = workspaces::create_workspace(db, "paul").await.unwrap();
        let (old, new) = (pushed(db, maria, "0.9").await, pushed(db, maria, "0.10").await);
        let (app, tag) = (Family::App, "a@0".parse::<Tag>().unwrap());
        let resolved = async |which| {
            let found = resolve(db, paul, paul, app, &tag, which).await.unwrap();
            found.map(|package| package.id)
        };

        imported(db, paul, maria).await;
        assert_eq!(resolved(Which::Any).await, None, "{}", fresh.name);
        set_public(db, maria, old.id, true).await.unwrap();
        assert_eq!(resolved(Which::Any).await, Some(old.id), "{}", fresh.name);
        assert_eq!(resolved(Which::Active).await, None, "{}", fresh.name);
        assert!(!set_public(db, paul, new.id, true).await.unwrap(), "{}", fresh.name);
        set_public(db, maria, new.id, true).await.unwrap();
        assert_eq!(resolved(Which::Any).await, Some(new.id), "{}", fresh.name);

        for owner in [None, Some("maria"), Some(maria.to_string().as_str())] {
            let found = publishers(db, app, &tag, owner).await.unwrap();
            assert_eq!(found, [maria], "{}", fresh.name);
        }
        assert_eq!(publishers(db, app, &tag, Some("paul")).await.unwrap(), [], "{}", fresh.name);
        let counted = async |shelf| {
            let all =
                Selection { tests: vec![], order: vec![], start: Start::Offset(0), limit: 10 };
            list(db, paul, app, shelf, &all).await.unwrap().rest
        };
        assert_eq!(counted(Shelf::Usable).await, Rest::Total(2), "{}", fresh.name);
        assert_eq!(counted(Shelf::Published).await, Rest::Total(2), "{}", fresh.name);
        let own = pushed(db, paul, "0.1").await;
        assert_eq!(resolved(Which::Any).await, Some(own.id), "{}", fresh.name);
        assert_eq!(counted(Shelf::Usable).await, Rest::Total(1), "{}", fresh.name);
        assert_eq!(counted(Shelf::Unpublished).await, Rest::Total(1), "{}", fresh.name);
    }
}

#[tokio::test]
async fn template_id_selects_an_own_template_or_an_imported_one() {
    for fresh in databases().await {
        let db = &fresh.db;
        let maria = workspaces::create_workspace(db, "maria").await.unwrap();
        let paul = workspaces::create_workspace(db, "paul").await.unwrap();
        let template = |app: &str| Template {
            id: "a".to_owned(),
            ..Template::of(app.to_owned(), "lines".to_owned(), "zip".to_owned())
        };
        templates::put(db, maria, &template("hers")).await.unwrap();
        let found = async || {
            let kept = templates::find(db, paul, "a").await.unwrap();
            kept.map(|kept| (kept.template.app, kept.template.owner))
        };

        imported(db, paul, maria).await;
        assert_eq!(found().await, None, "{}", fresh.name);
        assert!(templates::set_public(db, maria, "a", true).await.unwrap());
        let hers = ("hers".to_owned(), Some(maria));
        assert_eq!(found().await, Some(hers), "{}", fresh.name);
        let published = templates::published(db, paul, "a", Some("maria")).await.unwrap();
        assert_eq!(published.len(), 1, "{}", fresh.name);
        templates::put(db, paul, &template("his")).await.unwrap();
        assert_eq!(found().await, Some(("his".to_owned(), None)), "{}", fresh.name);
    }
}

#[tokio::test]
async fn catalogue_cursors_lead_through_every_order() {
    for fresh in databases().await {
        let db = &fresh.db;
        for name in ["maria", "paul"] {
            let owner = workspaces::create_workspace(db, name).await.unwrap();
            for version in ["0.9", "0.10"] {
                let package = pushed(db, owner, version).await;
                set_public(db, owner, package.id, true).await.unwrap();
            }
            let template = Template::of("app".to_owned(), "lines".to_owned(), "zip".to_owned());
            let template = Template { id: "a".to_owned(), ..template };
            templates::put(db, owner, &template).await.unwrap();
            assert!(templates::set_public(db, owner, "a", true).await.unwrap());
        }
        let reader = workspaces::create_workspace(db, "reader").await.unwrap();

        every_order_is_led_through(4, async |selection: Selection<PackageField>| {
            list(db, reader, Family::App, Shelf::Published, &selection).await.unwrap()
        })
        .await;
        every_order_is_led_through(2, async |selection: Selection<TemplateField>| {
            templates::list(db, reader, Shelf::Published, &selection).await.unwrap()
        })
        .await;
    }
}
