//! Finding packages: by tag among those that a workspace's names stand for, by id, and on lists.

use common::ids::{PackageId, WorkspaceId};
use common::package::tag::Tag;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbErr, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};
use uuid::Uuid;

use super::row::{Column as C, Entity, Model};
use super::{Family, Package, PackageField, integer, of, read};
use crate::store::Db;
use crate::store::catalogue::imports::{Item, is_imported};
use crate::store::known::Read;
use crate::store::people::workspaces;
use crate::store::query::selection;
use crate::store::query::selection::{Found, Selection};

const PUBLISHERS_MAX: u64 = 5;

/// Which packages a tag may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Which {
    Any,
    Active,
}

/// Which packages a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// What the workspace's tags can name: its own packages and imported ones.
    Usable,
    /// Everybody's published packages.
    Published,
    /// The workspace's own that are not published.
    Unpublished,
}

/// What a tag is asked for.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(in crate::store) struct Asked {
    names: WorkspaceId,
    reader: WorkspaceId,
    family: Family,
    tag: String,
    which: Which,
}

/// The newest package that a tag of the workspace `names` stands for, as far as `reader` may see
/// it: a stranger's only while it is published. Each new job asks this, so it is used again
/// (`store::known`).
pub async fn resolve(
    db: &Db,
    names: WorkspaceId,
    reader: WorkspaceId,
    family: Family,
    tag: &Tag,
    which: Which,
) -> Result<Option<Package>, DbErr> {
    let found = async {
        let row = find_row(db, (names, reader), family, tag, which).await?;
        let package = |row: Model| {
            let schema = row.params_schema.as_ref().map_or(0, String::len);
            Ok(Read { value: read(&row)?, bytes: row.manifest.len() + schema })
        };
        row.map(package).transpose()
    };
    let asked = Asked { names, reader, family, tag: tag.to_string(), which };
    db.known.packages.find(&db.epoch, asked, found).await
}

async fn find_row(
    db: &Db,
    (names, reader): (WorkspaceId, WorkspaceId),
    family: Family,
    tag: &Tag,
    which: Which,
) -> Result<Option<Model>, DbErr> {
    let mut query = tagged(family, tag)?
        .filter(stands_for(names, family))
        .filter(C::Public.eq(true).or(C::Workspace.eq(reader.uuid())));
    if which == Which::Active {
        query = query.filter(C::Active.eq(true));
    }
    // The workspace's own come first.
    let foreign: SimpleExpr = Expr::case(C::Workspace.eq(names.uuid()), 0).finally(1).into();
    let newest = query.order_by(foreign, Order::Asc).order_by_desc(C::Major);
    newest.order_by_desc(C::Minor).one(db).await
}

/// A package of this id that is the reader's own or published.
pub async fn find(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    family: Family,
    id: PackageId,
) -> Result<Option<Package>, DbErr> {
    let row = Entity::find_by_id(id.uuid())
        .filter(C::Family.eq(family.as_str()))
        .filter(C::Public.eq(true).or(C::Workspace.eq(reader.uuid())))
        .one(db)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Whether the workspace has a package of this name itself, of any version.
pub async fn owns(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    family: Family,
    name: &str,
) -> Result<bool, DbErr> {
    Ok(of(owner, family).filter(C::Name.eq(name)).count(db).await? > 0)
}

/// Who has published a package that fits the tag: all of them, or those of this name or id. Few
/// enough for a message.
pub async fn publishers(
    db: &impl ConnectionTrait,
    family: Family,
    tag: &Tag,
    owner: Option<&str>,
) -> Result<Vec<WorkspaceId>, DbErr> {
    let mut query = tagged(family, tag)?.filter(C::Public.eq(true));
    if let Some(owner) = owner {
        query = query.filter(workspaces::is_called(C::Workspace, owner));
    }
    let ids: Vec<Uuid> = query
        .select_only()
        .column(C::Workspace)
        .distinct()
        .limit(PUBLISHERS_MAX)
        .into_tuple()
        .all(db)
        .await?;
    Ok(ids.into_iter().map(WorkspaceId::new).collect())
}

/// A part of the packages.
pub async fn list(
    db: &impl ConnectionTrait,
    reader: WorkspaceId,
    family: Family,
    shelf: Shelf,
    selection: &Selection<PackageField>,
) -> Result<Found<Package>, DbErr> {
    let all = Entity::find().filter(C::Family.eq(family.as_str()));
    let own = C::Workspace.eq(reader.uuid());
    let all = match shelf {
        Shelf::Usable => all.filter(stands_for(reader, family)).filter(C::Public.eq(true).or(own)),
        Shelf::Published => all.filter(C::Public.eq(true)),
        Shelf::Unpublished => all.filter(own).filter(C::Public.eq(false)),
    };
    selection::fetch(db, all, selection).await?.try_map(|row| read(&row))
}

fn tagged(family: Family, tag: &Tag) -> Result<Select<Entity>, DbErr> {
    let mut query =
        Entity::find().filter(C::Family.eq(family.as_str())).filter(C::Name.eq(&tag.name));
    if let Some(major) = tag.major {
        query = query.filter(C::Major.eq(integer(major)?));
    }
    if let Some(minor) = tag.minor {
        query = query.filter(C::Minor.eq(integer(minor)?));
    }
    Ok(query)
}

/// Its name, in this workspace, means this package.
fn stands_for(names: WorkspaceId, family: Family) -> SimpleExpr {
    let item = Item::Package(family);
    let imported = is_imported(names, item, (Entity, C::Workspace), (Entity, C::Name));
    C::Workspace.eq(names.uuid()).or(imported)
}
