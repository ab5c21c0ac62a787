//! The records of the audit.

use super::super::audit::{AuditRow, AuditRows};
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Engine, Values, one_of};
use performer_core::model::audit::{AuditFilter, MAX_RECORDS};
use performer_core::orchestrator::Result;

impl<E: Engine> AuditRows for E {
    fn last_audit(&mut self) -> Result<Option<(u64, String)>> {
        self.lock_until_end("audit")?;
        let sql = "SELECT id, digest FROM audit ORDER BY id DESC LIMIT 1";
        let last = self.read(sql, &Values::default(), |row| Ok((number(row.number(0)?)?, row.text(1)?)))?;
        Ok(last.into_iter().next())
    }

    fn append_audit(&mut self, row: &AuditRow) -> Result<()> {
        let mut values = Values::default();
        let [id, act] = [row.id.cast_signed(), row.act].map(|number| values.bind::<E>(number));
        let time = values.bind::<E>(Bound::Time(row.time));
        let [user, entry, digest] =
            [&row.user_name, &row.entry, &row.digest].map(|text| values.bind_text::<E>(text));
        let sql = format!(
            "INSERT INTO audit (id, time, act, user_name, entry, digest) \
         VALUES ({id}, {time}, {act}, {user}, {entry}, {digest})"
        );
        self.execute(&sql, &values)
    }

    /// By number, which is the order of time but for clocks that were set back.
    fn audit(&mut self, filter: &AuditFilter) -> Result<Vec<AuditRow>> {
        let mut values = Values::default();
        let mut conditions = one_of("act", filter.acts.iter().map(|act| act.number()));
        if let Some(name) = &filter.user_name {
            conditions
                .push_str(&format!(" AND user_name <> '' AND user_name = {}", values.bind_text::<E>(name)));
        }
        if let Some(from) = filter.from {
            conditions.push_str(&format!(" AND time >= {}", values.bind::<E>(Bound::Time(from))));
        }
        if let Some(to) = filter.to {
            conditions.push_str(&format!(" AND time < {}", values.bind::<E>(Bound::Time(to))));
        }
        if let Some(before) = filter.before {
            conditions.push_str(&format!(" AND id < {}", values.bind::<E>(before.cast_signed())));
        }
        read(self, &format!("WHERE {conditions} ORDER BY id DESC LIMIT {}", filter.top), &values)
    }

    fn audit_from(&mut self, after: u64) -> Result<Vec<AuditRow>> {
        let mut values = Values::default();
        let after = values.bind::<E>(after.cast_signed());
        read(self, &format!("WHERE id > {after} ORDER BY id LIMIT {MAX_RECORDS}"), &values)
    }
}

fn read<E: Engine>(engine: &mut E, which: &str, values: &Values) -> Result<Vec<AuditRow>> {
    let sql = format!("SELECT id, time, act, user_name, entry, digest FROM audit {which}");
    engine.read(&sql, values, |row| {
        Ok(AuditRow {
            id: number(row.number(0)?)?,
            time: row.time(1)?,
            act: row.number(2)?,
            user_name: row.text(3)?,
            entry: row.text(4)?,
            digest: row.text(5)?,
        })
    })
}

fn number<N: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>>(stored: i64) -> Result<N> {
    N::try_from(stored).map_err(|error| UnreadableRow::error(error, "the store"))
}
