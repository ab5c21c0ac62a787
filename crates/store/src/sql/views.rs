//! The statements on saved views.

use super::super::unreadable_rows::UnreadableRow;
use super::super::views::ViewRows;
use super::dialect::{Engine, Row, Values};
use performer_core::model::key::FolderId;
use performer_core::model::view::{SavedView, ViewContent};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

const VIEW: &str = "SELECT id, owner, name, query, folder_id FROM saved_view";

/// Of a view that nobody shares.
const PRIVATE: i64 = 0;

impl<E: Engine> ViewRows for E {
    fn lock_views(&mut self) -> Result<()> {
        self.lock_until_end("views")
    }

    fn views(&mut self, owner: i64, folders: &[FolderId]) -> Result<Vec<SavedView>> {
        let mut values = Values::default();
        let mut conditions = format!("owner = {}", values.bind::<E>(owner));
        if !folders.is_empty() {
            let folders: Vec<i64> = folders.iter().map(|folder| folder.0).collect();
            let among = E::among("folder_id", &values.bind::<E>(folders));
            conditions.push_str(&format!(" OR folder_id <> {PRIVATE} AND {among}"));
        }
        let sql = format!("{VIEW} WHERE {conditions} ORDER BY name{}, id", E::BY_BYTES);
        self.read_list(("saved_view", 0), &sql, &values, read)
    }

    fn view_to_change(&mut self, id: i64) -> Result<Option<SavedView>> {
        let mut values = Values::default();
        let id = values.bind::<E>(id);
        let found = self.read(&format!("{VIEW} WHERE id = {id}{}", E::FOR_UPDATE), &values, read)?;
        Ok(found.into_iter().next())
    }

    fn insert_view(&mut self, owner: i64, content: &ViewContent) -> Result<Option<i64>> {
        let mut values = Values::default();
        let owner = values.bind::<E>(owner);
        let [name, query, folder] = columns::<E>(content, &mut values)?;
        let sql = format!(
            "INSERT INTO saved_view (owner, name, query, folder_id) VALUES ({owner}, {name}, {query}, {folder}) \
             ON CONFLICT DO NOTHING RETURNING id"
        );
        self.read_number(&sql, &values)
    }

    fn write_view(&mut self, view: &SavedView) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(view.id);
        let [name, query, folder] = columns::<E>(&view.content, &mut values)?;
        let sql = format!(
            "UPDATE saved_view SET name = {name}, query = {query}, folder_id = {folder} WHERE id = {id}"
        );
        self.execute(&sql, &values)
    }

    fn delete_view(&mut self, id: i64) -> Result<()> {
        delete(self, "id", id, "")
    }

    fn delete_private_views(&mut self, owner: i64) -> Result<()> {
        delete(self, "owner", owner, &format!(" AND folder_id = {PRIVATE}"))
    }

    fn delete_views_of(&mut self, folder: FolderId) -> Result<()> {
        delete(self, "folder_id", folder.0, &format!(" AND folder_id <> {PRIVATE}"))
    }
}

fn delete<E: Engine>(engine: &mut E, column: &str, number: i64, more: &str) -> Result<()> {
    let mut values = Values::default();
    let number = values.bind::<E>(number);
    engine.execute(&format!("DELETE FROM saved_view WHERE {column} = {number}{more}"), &values)
}

/// Name, query and folder.
fn columns<E: Engine>(content: &ViewContent, values: &mut Values) -> Result<[String; 3]> {
    let query = serde_json::to_string(&content.query).map_err(|error| {
        OrchestratorError::new(ErrorKind::Other, "a view cannot be written").with_source(error)
    })?;
    let (name, query) = (values.bind_text::<E>(&content.name), values.bind_text::<E>(&query));
    Ok([name, query, values.bind::<E>(content.folder.map_or(PRIVATE, |folder| folder.0))])
}

fn read(row: &dyn Row) -> Result<SavedView> {
    let query = serde_json::from_str(&row.text(3)?);
    let folder = Some(FolderId(row.number(4)?)).filter(|folder| folder.0 != PRIVATE);
    Ok(SavedView {
        id: row.number(0)?,
        owner: row.number(1)?,
        content: ViewContent {
            name: row.text(2)?,
            query: query.map_err(|error| UnreadableRow::error(error, "the store"))?,
            folder,
        },
    })
}
