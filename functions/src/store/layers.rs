//! Versions of layers in the database. Each change is one transaction.

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior, params};

use super::{Store, StoreError, registry};
use crate::Digest;
use crate::layers::{LayerLabels, LayerName, LayerVersion};

/// The columns that [`read`] reads.
const COLUMNS: &str = "name, number, bundle, created, document";

impl Store {
    /// Gives a bundle the next number of a layer. Takes up one promise of the bundle.
    ///
    /// # Errors
    /// [`StoreError::NoBundle`] if the bundle is not stored, [`StoreError::DiskFull`], [`StoreError::Database`].
    pub fn publish_layer(
        &self,
        name: &LayerName,
        bundle: Digest,
        labels: &LayerLabels,
    ) -> Result<LayerVersion, StoreError> {
        let mut inner = self.inner();
        if !self.bundles.holds(&bundle) {
            return Err(StoreError::NoBundle { digest: bundle });
        }
        let created = Timestamp::now();
        let document = serde_json::to_string(labels).expect("labels are plain data");
        let transaction = inner
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let number: i64 = transaction.query_row(
            "INSERT INTO layer_names (name, last) VALUES (?1, 1) ON CONFLICT (name) DO UPDATE SET last = last + 1 RETURNING last",
            [name.as_str()],
            |row| row.get(0),
        )?;
        transaction.execute(
            "INSERT INTO layer_versions (name, number, bundle, created, document) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![name.as_str(), number, bundle.to_string(), created.to_string(), document],
        )?;
        transaction.commit()?;
        inner.take_up(&bundle);
        Ok(LayerVersion {
            name: name.clone(),
            number: number.unsigned_abs(),
            bundle,
            created,
            labels: labels.clone(),
        })
    }

    /// One version of a layer.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn layer_version(&self, name: &LayerName, number: u64) -> Result<Option<LayerVersion>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM layer_versions WHERE name = ?1 AND number = ?2");
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Ok(read(&self.inner().database, &query, params![name.as_str(), number])?.pop())
    }

    /// All versions of a layer, oldest first. None if there is no such layer.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn layer_versions(&self, name: &LayerName) -> Result<Vec<LayerVersion>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM layer_versions WHERE name = ?1 ORDER BY number");
        read(&self.inner().database, &query, params![name.as_str()])
    }

    /// All versions of all layers, by name and number.
    ///
    /// # Errors
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn all_layer_versions(&self) -> Result<Vec<LayerVersion>, StoreError> {
        let query = format!("SELECT {COLUMNS} FROM layer_versions ORDER BY name, number");
        read(&self.inner().database, &query, [])
    }

    /// Removes a version of a layer, and its files if nothing else names them. Says whether there was one.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn remove_layer_version(&self, name: &LayerName, number: u64) -> Result<bool, StoreError> {
        let Some(version) = self.layer_version(name, number)? else {
            return Ok(false);
        };
        let inner = self.inner();
        let gone = inner.database.execute(
            "DELETE FROM layer_versions WHERE name = ?1 AND number = ?2",
            params![name.as_str(), i64::try_from(number).unwrap_or(i64::MAX)],
        )?;
        // Out of its place under the mutex, deleted without it.
        let condemned = self.condemn_unneeded(&inner, &version.bundle)?;
        drop(inner);
        drop(condemned);
        Ok(gone > 0)
    }
}

fn read(database: &Connection, query: &str, params: impl rusqlite::Params) -> Result<Vec<LayerVersion>, StoreError> {
    let mut statement = database.prepare_cached(query)?;
    let mut rows = statement.query(params)?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let broken = |what: &str| registry::damaged(database, format!("version of the layer {name}: {what}"));
        versions.push(LayerVersion {
            name: name.parse().map_err(|_| broken("its name"))?,
            number: row.get::<_, i64>(1)?.unsigned_abs(),
            bundle: row.get::<_, String>(2)?.parse().map_err(|_| broken("its bundle"))?,
            created: row.get::<_, String>(3)?.parse().map_err(|_| broken("its time"))?,
            labels: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| broken("its labels"))?,
        });
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use crate::bundle;

    use super::*;

    fn added(store: &Store, text: &str) -> Digest {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), text).unwrap();
        let mut archive = Vec::new();
        bundle::pack(dir.path(), &mut archive).unwrap();
        store.add_bundle(archive.as_slice()).unwrap().digest
    }

    #[test]
    fn a_layer_keeps_its_files_across_a_start_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let name: LayerName = "tools".parse().unwrap();
        let labels = LayerLabels {
            description: "d".to_owned(),
            ..LayerLabels::default()
        };
        let store = Store::open(dir.path()).unwrap();
        let (one, two) = (added(&store, "one"), added(&store, "two"));
        assert!(matches!(
            store.publish_layer(&name, Digest::of(b"absent"), &labels),
            Err(StoreError::NoBundle { .. })
        ));
        let first = store.publish_layer(&name, one, &labels).unwrap();
        assert_eq!(store.publish_layer(&name, two, &labels).unwrap().number, 2);
        drop(store);

        let store = Store::open(dir.path()).unwrap();
        assert!(store.layer(&one).is_dir() && store.layer(&two).is_dir());
        assert_eq!(store.layer_version(&name, 1).unwrap(), Some(first));
        assert_eq!(store.all_layer_versions().unwrap().len(), 2);
        assert!(store.remove_layer_version(&name, 1).unwrap());
        assert!(!store.remove_layer_version(&name, 1).unwrap());
        assert!(!store.layer(&one).exists() && store.layer(&two).is_dir());
        // Whoever reads it meanwhile was promised it.
        assert!(store.has_bundle(&two));
        assert!(store.remove_layer_version(&name, 2).unwrap());
        assert!(store.layer(&two).is_dir());
        store.release(&two).unwrap();
        assert!(!store.layer(&two).exists() && !store.has_bundle(&two));
        let three = added(&store, "three");
        let third = store.publish_layer(&name, three, &labels).unwrap();
        assert_eq!(third.number, 3, "no number is used again");
        assert_eq!(store.layer_versions(&name).unwrap(), [third]);
    }
}
