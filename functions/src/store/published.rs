//! Versions, aliases, labels and facets: what Lambda's API keeps beside functions and revisions. Each change is one transaction.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::de::DeserializeOwned;

use super::{Store, StoreError, registry};
use crate::published::{Alias, Facet, Labels, PublishError, Published, Version};
use crate::{FunctionName, RevisionNumber};

/// Why a change of a function's versions or aliases did not happen.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The change can't be.
    #[error(transparent)]
    Refused(#[from] PublishError),
}

impl From<rusqlite::Error> for PublishedError {
    fn from(error: rusqlite::Error) -> Self {
        StoreError::from(error).into()
    }
}

impl Store {
    /// The versions and aliases of a function; nothing for one that is not there.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn published(&self, name: &FunctionName) -> Result<Published, StoreError> {
        read(&self.inner().database, name)
    }

    /// The versions and aliases of every function that has some.
    ///
    /// # Errors
    /// Like [`published`](Store::published).
    pub fn all_published(&self) -> Result<Vec<(FunctionName, Published)>, StoreError> {
        let database = &self.inner().database;
        let all = self.list().into_iter().map(|live| {
            let published = read(database, &live.name)?;
            Ok((live.name.clone(), published))
        });
        all.filter(|one| !matches!(one, Ok((_, published)) if published.is_empty()))
            .collect()
    }

    /// Gives the live revision a number that stays. One that has the last number already keeps it.
    ///
    /// # Errors
    /// [`StoreError::NoFunction`], [`StoreError::DiskFull`], [`StoreError::Database`].
    pub fn publish(&self, name: &FunctionName, description: &str) -> Result<Version, StoreError> {
        let mut inner = self.inner();
        let live = self
            .live(name)
            .ok_or_else(|| StoreError::NoFunction { name: name.clone() })?;
        let published = read(&inner.database, name)?;
        if let Some((_, last)) = published.versions.last_key_value()
            && last.revision.number == live.number
        {
            return Ok(last.clone());
        }
        let created = Timestamp::now();
        let transaction = inner
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number: i64 = transaction.query_row(
            "UPDATE functions SET published = published + 1 WHERE name = ?1 RETURNING published",
            [name.as_str()],
            |row| row.get(0),
        )?;
        transaction.execute(
            "INSERT INTO versions (name, number, revision, description, created) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                name.as_str(),
                number,
                signed(live.number.get()),
                description,
                created.to_string()
            ],
        )?;
        transaction.commit()?;
        Ok(Version {
            number: number.unsigned_abs(),
            revision: live,
            description: description.to_owned(),
            created,
        })
    }

    /// Takes a version's number away, with the settings that it has. Its revision stays.
    ///
    /// # Errors
    /// [`PublishError::NoVersion`], [`PublishError::InUse`], or what the store says.
    pub fn unpublish(&self, name: &FunctionName, version: u64) -> Result<(), PublishedError> {
        let mut inner = self.inner();
        let published = read(&inner.database, name)?;
        if let Some((alias, _)) = published.aliases.iter().find(|(_, alias)| alias.names(version)) {
            let alias = alias.clone();
            return Err(PublishError::InUse { version, alias }.into());
        }
        let transaction = inner
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let gone = transaction.execute(
            "DELETE FROM versions WHERE name = ?1 AND number = ?2",
            params![name.as_str(), signed(version)],
        )?;
        transaction.execute(
            "DELETE FROM facets WHERE name = ?1 AND qualifier = ?2",
            [name.as_str(), &version.to_string()],
        )?;
        transaction.commit()?;
        match gone {
            0 => Err(PublishError::NoVersion { version }.into()),
            _ => Ok(()),
        }
    }

    /// Makes an alias.
    ///
    /// # Errors
    /// [`PublishError::AliasExists`], [`PublishError::NoVersion`], or what the store says.
    pub fn add_alias(&self, name: &FunctionName, alias: &str, to: &Alias) -> Result<(), PublishedError> {
        let inner = self.inner();
        let published = read(&inner.database, name)?;
        if published.aliases.contains_key(alias) {
            let alias = alias.to_owned();
            return Err(PublishError::AliasExists { alias }.into());
        }
        write(&inner.database, &published, name, alias, to)
    }

    /// Points an alias elsewhere.
    ///
    /// # Errors
    /// [`PublishError::NoAlias`], [`PublishError::NoVersion`], or what the store says.
    pub fn change_alias(&self, name: &FunctionName, alias: &str, to: &Alias) -> Result<(), PublishedError> {
        let inner = self.inner();
        let published = read(&inner.database, name)?;
        if !published.aliases.contains_key(alias) {
            let alias = alias.to_owned();
            return Err(PublishError::NoAlias { alias }.into());
        }
        write(&inner.database, &published, name, alias, to)
    }

    /// Removes an alias, and says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Database`].
    pub fn remove_alias(&self, name: &FunctionName, alias: &str) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        let transaction = inner
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let gone = transaction.execute(
            "DELETE FROM aliases WHERE name = ?1 AND alias = ?2",
            [name.as_str(), alias],
        )?;
        transaction.execute(
            "DELETE FROM facets WHERE name = ?1 AND qualifier = ?2",
            [name.as_str(), alias],
        )?;
        transaction.commit()?;
        Ok(gone > 0)
    }

    /// What was said about a revision; `None` for one that did not come through Lambda's API.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn labels(&self, name: &FunctionName, number: RevisionNumber) -> Result<Option<Labels>, StoreError> {
        let database = &self.inner().database;
        let text: Option<String> = database
            .prepare_cached("SELECT document FROM labels WHERE name = ?1 AND number = ?2")?
            .query_row(params![name.as_str(), signed(number.get())], |row| row.get(0))
            .optional()?;
        text.map(|text| document(database, "labels", &text)).transpose()
    }

    /// A setting's document. `qualifier` is empty for one of the whole function.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn facet<T: DeserializeOwned>(
        &self,
        name: &FunctionName,
        facet: Facet,
        qualifier: &str,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.facets(name, facet)?.remove(qualifier))
    }

    /// A setting's documents, by qualifier.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn facets<T: DeserializeOwned>(
        &self,
        name: &FunctionName,
        facet: Facet,
    ) -> Result<BTreeMap<String, T>, StoreError> {
        let database = &self.inner().database;
        let mut statement =
            database.prepare_cached("SELECT qualifier, document FROM facets WHERE name = ?1 AND kind = ?2")?;
        let mut rows = statement.query([name.as_str(), facet.as_str()])?;
        let mut all = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let text: String = row.get(1)?;
            all.insert(row.get(0)?, document(database, facet.as_str(), &text)?);
        }
        Ok(all)
    }

    /// The documents that all functions have of one setting of the whole function.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn all_of_facet<T: DeserializeOwned>(&self, facet: Facet) -> Result<Vec<(FunctionName, T)>, StoreError> {
        let names = self.list().into_iter().map(|live| live.name.clone());
        let all = names.filter_map(|name| {
            self.facet(&name, facet, "")
                .map(|found| Some((name, found?)))
                .transpose()
        });
        all.collect()
    }

    /// Sets a setting of a function that is there, or takes it away with `None`. Says whether there was one before.
    ///
    /// # Errors
    /// [`StoreError::NoFunction`], [`StoreError::DiskFull`], [`StoreError::Database`].
    pub fn set_facet(
        &self,
        name: &FunctionName,
        facet: Facet,
        qualifier: &str,
        to: Option<&serde_json::Value>,
    ) -> Result<bool, StoreError> {
        let mut inner = self.inner();
        if self.live(name).is_none() {
            return Err(StoreError::NoFunction { name: name.clone() });
        }
        let transaction = inner
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = transaction.execute(
            "DELETE FROM facets WHERE name = ?1 AND kind = ?2 AND qualifier = ?3",
            [name.as_str(), facet.as_str(), qualifier],
        )?;
        if let Some(to) = to {
            transaction.execute(
                "INSERT INTO facets (name, kind, qualifier, document) VALUES (?1, ?2, ?3, ?4)",
                [name.as_str(), facet.as_str(), qualifier, &to.to_string()],
            )?;
        }
        transaction.commit()?;
        Ok(before > 0)
    }
}

/// Removes everything that this module keeps of a function, within the transaction that removes the function.
pub(super) fn forget(database: &Connection, name: &FunctionName) -> Result<(), StoreError> {
    for table in ["versions", "aliases", "labels", "facets"] {
        database.execute(&format!("DELETE FROM {table} WHERE name = ?1"), [name.as_str()])?;
    }
    database.execute("UPDATE functions SET published = 0 WHERE name = ?1", [name.as_str()])?;
    Ok(())
}

/// Keeps what was said about a revision, within the transaction that makes it.
pub(super) fn label(
    database: &Connection,
    name: &FunctionName,
    number: RevisionNumber,
    labels: &Labels,
) -> Result<(), StoreError> {
    let document = serde_json::to_string(labels).expect("labels are plain data");
    database.execute(
        "INSERT INTO labels (name, number, document) VALUES (?1, ?2, ?3)",
        params![name.as_str(), signed(number.get()), document],
    )?;
    Ok(())
}

fn read(database: &Connection, name: &FunctionName) -> Result<Published, StoreError> {
    let mut published = Published::default();
    let mut statement = database.prepare_cached(
        "SELECT number, revision, description, created FROM versions WHERE name = ?1 ORDER BY number",
    )?;
    let mut rows = statement.query([name.as_str()])?;
    while let Some(row) = rows.next()? {
        let number = row.get::<_, i64>(0)?.unsigned_abs();
        let created: String = row.get(3)?;
        let broken = |what: &str| registry::damaged(database, format!("version {number} of {name}: {what}"));
        let revision =
            RevisionNumber::new(row.get::<_, i64>(1)?.unsigned_abs()).ok_or_else(|| broken("it has no revision"))?;
        let revision = registry::get(database, name, revision)?.ok_or_else(|| broken("its revision is gone"))?;
        published.versions.insert(
            number,
            Version {
                number,
                revision: Arc::new(revision),
                description: row.get(2)?,
                created: created.parse().map_err(|_| broken("its time is no time"))?,
            },
        );
    }
    let mut statement = database.prepare_cached("SELECT alias, document FROM aliases WHERE name = ?1")?;
    let mut rows = statement.query([name.as_str()])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        published
            .aliases
            .insert(row.get(0)?, document(database, "alias", &text)?);
    }
    Ok(published)
}

fn write(
    database: &Connection,
    published: &Published,
    name: &FunctionName,
    alias: &str,
    to: &Alias,
) -> Result<(), PublishedError> {
    let named = to.version.into_iter().chain(to.shifted.map(|shift| shift.version));
    for version in named {
        if !published.versions.contains_key(&version) {
            return Err(PublishError::NoVersion { version }.into());
        }
    }
    let document = serde_json::to_string(to).expect("an alias is plain data");
    database.execute(
        "INSERT INTO aliases (name, alias, document) VALUES (?1, ?2, ?3)
         ON CONFLICT (name, alias) DO UPDATE SET document = excluded.document",
        [name.as_str(), alias, &document],
    )?;
    Ok(())
}

fn document<T: DeserializeOwned>(database: &Connection, what: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| registry::damaged(database, format!("{what}: {error}")))
}

/// SQLite counts to 2^63; no number here has got beyond.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
