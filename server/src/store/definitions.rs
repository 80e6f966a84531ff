//! Definitions of jobs, each version in a row of its own. A version is never changed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::ids::{DefinitionId, WorkspaceId};
use common::order::container::ContainerWork;
use common::run::queue::Label;
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use sea_orm::{DbErr, QueryOrder, QuerySelect};

use super::query::document;
use super::{corrupt, micros, time};
use crate::clock;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "definitions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub workspace: Uuid,
    pub project: String,
    pub name: String,
    pub description: String,
    pub created_us: i64,
    pub updated_us: i64,
    pub version: i32,
    pub kind: String,
    /// JSON of what its jobs run.
    pub work: String,
    /// JSON of the values of parameters where a job gives none.
    pub parameters: String,
    pub active: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// What the author of a definition has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefinitionKind {
    /// An image and a command.
    Image,
    /// A script, which runs in an image of the server's choice.
    Script,
}

impl DefinitionKind {
    pub const ALL: [Self; 2] = [Self::Image, Self::Script];

    /// The name under which it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Script => "script",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One version of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub id: DefinitionId,
    pub workspace: WorkspaceId,
    /// Empty for none.
    pub project: String,
    pub name: Label,
    /// From 1.
    pub version: u32,
    pub description: String,
    pub kind: DefinitionKind,
    /// What its jobs run. Words of its command may name parameters.
    pub work: ContainerWork,
    /// The values of parameters where a job gives none.
    pub parameters: BTreeMap<String, String>,
    /// Whether jobs may be made of it.
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
}

/// Stores a new version.
pub async fn insert(db: &impl ConnectionTrait, definition: &Definition) -> Result<(), DbErr> {
    Entity::insert(row(definition)?).exec_without_returning(db).await?;
    Ok(())
}

pub async fn find(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: DefinitionId,
) -> Result<Option<Definition>, DbErr> {
    of(owner).filter(Column::Id.eq(id.uuid())).one(db).await?.as_ref().map(read).transpose()
}

/// A version of the definition of this name, or the newest one that is active.
pub async fn find_named(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    (project, name): (&str, &str),
    version: Option<u32>,
) -> Result<Option<Definition>, DbErr> {
    let named = of(owner).filter(Column::Project.eq(project)).filter(Column::Name.eq(name));
    let one = match version {
        Some(version) => named.filter(Column::Version.eq(i64::from(version))),
        None => named.filter(Column::Active.eq(true)).order_by_desc(Column::Version),
    };
    one.one(db).await?.as_ref().map(read).transpose()
}

/// The newest version of the definition of this name, 0 where there is none.
pub async fn newest(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    project: &str,
    name: &str,
) -> Result<u32, DbErr> {
    let named = of(owner).filter(Column::Project.eq(project)).filter(Column::Name.eq(name));
    let row = named.order_by_desc(Column::Version).one(db).await?;
    Ok(row.map_or(0, |row| row.version.cast_unsigned()))
}

/// At most `limit` versions of a workspace after this one, in the order in which they were made.
pub async fn list(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    after: Option<DefinitionId>,
    limit: u64,
) -> Result<Vec<Definition>, DbErr> {
    let after = after.map_or(Uuid::nil(), DefinitionId::uuid);
    let rows = of(owner).filter(Column::Id.gt(after)).order_by_asc(Column::Id).limit(limit);
    rows.all(db).await?.iter().map(read).collect()
}

pub async fn count(db: &impl ConnectionTrait, owner: WorkspaceId) -> Result<u64, DbErr> {
    of(owner).count(db).await
}

/// Says whether jobs may be made of a version; false where there is none.
pub async fn set_active(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: DefinitionId,
    is_active: bool,
) -> Result<bool, DbErr> {
    let changed = Entity::update_many()
        .col_expr(Column::Active, is_active.into())
        .col_expr(Column::UpdatedUs, micros(clock::now()).into())
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(changed.rows_affected == 1)
}

/// Removes a version; false where there is none. Jobs that were made of it stay as they are.
pub async fn delete(
    db: &impl ConnectionTrait,
    owner: WorkspaceId,
    id: DefinitionId,
) -> Result<bool, DbErr> {
    let gone = Entity::delete_many()
        .filter(Column::Workspace.eq(owner.uuid()))
        .filter(Column::Id.eq(id.uuid()))
        .exec(db)
        .await?;
    Ok(gone.rows_affected == 1)
}

fn of(owner: WorkspaceId) -> Select<Entity> {
    Entity::find().filter(Column::Workspace.eq(owner.uuid()))
}

fn row(definition: &Definition) -> Result<ActiveModel, DbErr> {
    Ok(ActiveModel {
        id: Set(definition.id.uuid()),
        workspace: Set(definition.workspace.uuid()),
        project: Set(definition.project.clone()),
        name: Set(definition.name.to_string()),
        description: Set(definition.description.clone()),
        created_us: Set(micros(definition.created_at)),
        updated_us: Set(micros(definition.created_at)),
        version: Set(definition.version.cast_signed()),
        kind: Set(definition.kind.as_str().to_owned()),
        work: Set(document::write(&definition.work)?),
        parameters: Set(document::write(&definition.parameters)?),
        active: Set(definition.is_active),
    })
}

pub(in crate::store) fn read(row: &Model) -> Result<Definition, DbErr> {
    let kind = DefinitionKind::from_name(&row.kind);
    Ok(Definition {
        id: DefinitionId::new(row.id),
        workspace: WorkspaceId::new(row.workspace),
        project: row.project.clone(),
        name: row.name.parse().map_err(|_| corrupt("name of a definition"))?,
        version: row.version.cast_unsigned(),
        description: row.description.clone(),
        kind: kind.ok_or_else(|| corrupt("kind of a definition"))?,
        work: document::read(&row.work)?,
        parameters: document::read(&row.parameters)?,
        is_active: row.active,
        created_at: time(row.created_us),
    })
}

#[cfg(test)]
mod tests {
    use common::compute::container::Command;
    use common::compute::resources::Resources;
    use common::order::container::{ContainerOrder, ImageName, OrderedProgram};

    use super::*;
    use crate::store::testing::databases;

    fn definition(owner: WorkspaceId, version: u32) -> Definition {
        let main = OrderedProgram {
            name: None,
            image: ImageName { name: "app".to_owned(), secret: None },
            command: Command::Line(vec!["Param::a".to_owned()]),
            working_dir: None,
            environment: Default::default(),
        };
        Definition {
            id: DefinitionId::new(Uuid::now_v7()),
            workspace: owner,
            project: "p".to_owned(),
            name: "hello".parse().unwrap(),
            version,
            description: String::new(),
            kind: DefinitionKind::Script,
            work: ContainerWork::new(ContainerOrder::of(main, Resources::new(1000, 64))).unwrap(),
            parameters: [("a".to_owned(), "b".to_owned())].into(),
            is_active: true,
            created_at: common::testing::at(1),
        }
    }

    #[tokio::test]
    async fn definitions_read_back_by_version_and_the_newest_active_one_is_found() {
        for fresh in databases().await {
            let db = &fresh.db;
            let owner = WorkspaceId::new(Uuid::now_v7());
            let [one, two] = [1, 2].map(|version| definition(owner, version));
            insert(db, &one).await.unwrap();
            insert(db, &two).await.unwrap();
            assert!(insert(db, &definition(owner, 2)).await.is_err(), "{}", fresh.name);
            let named =
                async |version| find_named(db, owner, ("p", "hello"), version).await.unwrap();

            assert_eq!(named(None).await, Some(two.clone()), "{}", fresh.name);
            assert_eq!(named(Some(1)).await, Some(one.clone()));
            assert_eq!(newest(db, owner, "p", "hello").await.unwrap(), 2);
            assert!(set_active(db, owner, two.id, false).await.unwrap());
            assert_eq!(named(None).await, Some(one.clone()), "{}", fresh.name);
            assert!(delete(db, owner, two.id).await.unwrap());
            assert_eq!(list(db, owner, None, 9).await.unwrap(), [one]);
        }
    }
}
