//! The statements on processes, machines and sessions, each a document, and on jobs that wait for a machine.

use super::super::fleet::{FleetKind, FleetRows};
use super::dialect::{Engine, Values};
use super::jobs::{JOB, read};
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

impl<E: Engine> FleetRows for E {
    fn lock_fleet(&mut self) -> Result<()> {
        self.lock_until_end("fleet")
    }

    fn insert_fleet(&mut self, kind: FleetKind, document: &str) -> Result<i64> {
        let mut values = Values::default();
        let kind = values.bind::<E>(i64::from(kind.number()));
        let document = values.bind_text::<E>(document);
        let sql = format!("INSERT INTO fleet (kind, document) VALUES ({kind}, {document}) RETURNING id");
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new document got no number");
        self.read_number(&sql, &values)?.ok_or_else(missing)
    }

    fn write_fleet(&mut self, id: i64, document: &str) -> Result<()> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(document);
        let id = values.bind::<E>(id);
        self.execute(&format!("UPDATE fleet SET document = {document} WHERE id = {id}"), &values)
    }

    fn delete_fleet(&mut self, id: i64) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(id);
        self.execute(&format!("DELETE FROM fleet WHERE id = {id}"), &values)
    }

    fn fleet(&mut self, kind: FleetKind) -> Result<Vec<(i64, String)>> {
        let mut values = Values::default();
        let kind = values.bind::<E>(i64::from(kind.number()));
        let sql = format!("SELECT id, document FROM fleet WHERE kind = {kind} ORDER BY id");
        self.read(&sql, &values, |row| Ok((row.number(0)?, row.text(1)?)))
    }

    fn fleet_one(&mut self, kind: FleetKind, id: i64) -> Result<Option<String>> {
        let mut values = Values::default();
        let [kind, id] = [i64::from(kind.number()), id].map(|number| values.bind::<E>(number));
        let sql = format!("SELECT document FROM fleet WHERE kind = {kind} AND id = {id}{}", E::FOR_UPDATE);
        Ok(self.read(&sql, &values, |row| row.text(0))?.pop())
    }

    fn pending_jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        let mut values = Values::default();
        let condition = match folder {
            Some(folder) => format!(" AND folder_id = {}", values.bind::<E>(folder.0)),
            None => String::new(),
        };
        let sql = format!(
            "{JOB} WHERE end_time IS NULL AND state = {}{condition} ORDER BY id LIMIT {limit}{}",
            JobState::Pending.number(),
            E::FOR_UPDATE
        );
        self.read(&sql, &values, read)
    }
}
