//! Whether a store is sound, whichever statements wrote its tables. What has to hold between them is the store's own knowledge.

use std::path::Path;

use performer::orchestrator::store::inspection::StoreInspector;

use crate::postgres::Schema;

/// What is wrong in a store. It can be called anywhere: the store is read on a thread of its own.
///
/// # Panics
///
/// If the store cannot be read, or nothing was checked.
pub fn damage_of(url: &str) -> Vec<String> {
    let checking = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(StoreInspector::new(url).unwrap().check()).unwrap()
    };
    let report = std::thread::scope(|scope| scope.spawn(checking).join().unwrap());
    assert!(report.checked.len() > 10 || !report.violations.is_empty(), "{report:?}");
    report.violations.iter().map(|violation| format!("{violation:?}")).collect()
}

/// What is wrong in a SQLite file.
pub fn damage_of_file(file: &Path) -> Vec<String> {
    damage_of(&format!("sqlite:{}", file.display()))
}

/// What is wrong in a schema of PostgreSQL.
pub fn damage_of_schema(schema: &Schema) -> Vec<String> {
    damage_of(&schema.url)
}

/// A database whose tables are checked when the test that uses it has ended.
pub struct Checked<T> {
    database: T,
    damage: fn(&T) -> Vec<String>,
}

impl<T> Checked<T> {
    pub fn new(database: T, damage: fn(&T) -> Vec<String>) -> Self {
        Self { database, damage }
    }
}

impl<T> Drop for Checked<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let damage = (self.damage)(&self.database);
            assert!(damage.is_empty(), "{damage:#?}");
        }
    }
}
