//! Processes, machines and sessions in memory.

use std::collections::BTreeMap;

use super::super::fleet::{FleetKind, FleetRows};
use super::Memory;
use performer_core::model::job::{Job, JobState};
use performer_core::model::key::FolderId;
use performer_core::orchestrator::Result;

/// All documents, by number.
#[derive(Default)]
pub(super) struct StoredFleet {
    all: BTreeMap<i64, (FleetKind, String)>,
    last: i64,
}

impl FleetRows for Memory {
    fn lock_fleet(&mut self) -> Result<()> {
        Ok(())
    }

    fn insert_fleet(&mut self, kind: FleetKind, document: &str) -> Result<i64> {
        self.fleet.last += 1;
        self.fleet.all.insert(self.fleet.last, (kind, document.to_owned()));
        Ok(self.fleet.last)
    }

    fn write_fleet(&mut self, id: i64, document: &str) -> Result<()> {
        if let Some((_, stored)) = self.fleet.all.get_mut(&id) {
            document.clone_into(stored);
        }
        Ok(())
    }

    fn delete_fleet(&mut self, id: i64) -> Result<()> {
        self.fleet.all.remove(&id);
        Ok(())
    }

    fn fleet(&mut self, kind: FleetKind) -> Result<Vec<(i64, String)>> {
        let of_kind = self.fleet.all.iter().filter(|(_, (of, _))| *of == kind);
        Ok(of_kind.map(|(id, (_, document))| (*id, document.clone())).collect())
    }

    fn fleet_one(&mut self, kind: FleetKind, id: i64) -> Result<Option<String>> {
        let found = self.fleet.all.get(&id).filter(|(of, _)| *of == kind);
        Ok(found.map(|(_, document)| document.clone()))
    }

    fn pending_jobs(&mut self, folder: Option<FolderId>, limit: usize) -> Result<Vec<Job>> {
        let is_meant =
            |job: &&Job| job.state == JobState::Pending && folder.is_none_or(|folder| job.folder == folder);
        let mut jobs: Vec<Job> = self.jobs.values().filter(is_meant).cloned().collect();
        jobs.sort_by_key(|job| job.id);
        jobs.truncate(limit);
        Ok(jobs)
    }
}
