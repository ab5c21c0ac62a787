//! Saved views. Those that are shared are in the audit; what one person keeps for itself is not.

use serde_json::Value;

use super::super::backend::Answer;
use super::super::rows::Rows;
use super::super::views::ViewOperation;
use super::{Applied, Apply, ApplyError};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::model::view::{MAX_VIEWS, SavedView, ViewContent};
use performer_core::orchestrator::OrchestratorError;

impl<R: Rows> Apply<'_, R> {
    pub(super) fn change_view(&mut self, change: ViewOperation) -> Applied {
        let user = self.scope.user.unwrap_or_default();
        // Others that count, or look for a name, at the same time would not see what this one writes.
        self.rows.lock_views()?;
        let changed = match change {
            ViewOperation::Add(content) => self.add_view(user, content)?,
            ViewOperation::Edit { id, content, managed } => {
                let before = self.view_to_change(id, user, &managed)?;
                content.validate()?;
                self.check_view_name(before.owner, Some(id), &content)?;
                let after = SavedView { content, ..before.clone() };
                self.rows.write_view(&after)?;
                self.note_view(Some(&before), Some(&after));
                after
            }
            ViewOperation::Remove { id, managed } => {
                let before = self.view_to_change(id, user, &managed)?;
                self.rows.delete_view(id)?;
                self.note_view(Some(&before), None);
                before
            }
        };
        Ok(Answer::Views(vec![changed]))
    }

    fn add_view(&mut self, owner: i64, content: ViewContent) -> Applied<SavedView> {
        content.validate()?;
        if self.rows.views(owner, &[])?.len() >= MAX_VIEWS {
            let message = format!("there are {MAX_VIEWS} views already; delete some first");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let id = self.rows.insert_view(owner, &content)?.ok_or_else(|| name_taken(&content))?;
        let added = SavedView { id, owner, content };
        self.note_view(None, Some(&added));
        Ok(added)
    }

    fn check_view_name(&mut self, owner: i64, except: Option<i64>, content: &ViewContent) -> Applied<()> {
        let all = self.rows.views(owner, &[])?;
        let is_taken = all.iter().any(|view| Some(view.id) != except && view.content.name == content.name);
        if is_taken { Err(name_taken(content).into()) } else { Ok(()) }
    }

    /// A view that the user may change. One that the user does not even see is not found.
    fn view_to_change(&mut self, id: i64, user: i64, managed: &[FolderId]) -> Applied<SavedView> {
        let missing =
            || ApplyError::Refused(OrchestratorError::not_found(format!("view {id} does not exist")));
        let view = self.rows.view_to_change(id)?;
        let view =
            view.filter(|view| view.owner == user || view.content.folder.is_some()).ok_or_else(missing)?;
        view.check_may_change(user, managed)?;
        Ok(view)
    }

    /// Records a change of what others see.
    fn note_view(&mut self, before: Option<&SavedView>, after: Option<&SavedView>) {
        let is_shared = |view: Option<&SavedView>| view.is_some_and(|view| view.content.folder.is_some());
        if !is_shared(before) && !is_shared(after) {
            return;
        }
        let name = |view: &SavedView| Value::from(view.content.name.as_str());
        let query = |view: &SavedView| {
            let pairs = view.content.query.iter().map(|(name, value)| format!("{name}={value}"));
            Value::from(pairs.collect::<Vec<_>>().join(" "))
        };
        let folder = |view: &SavedView| view.content.folder.map(|folder| Value::from(folder.0));
        let fields = [
            ("Name", before.map(name), after.map(name)),
            ("Query", before.map(query), after.map(query)),
            ("SharedWith", before.and_then(folder), after.and_then(folder)),
        ];
        let differ = fields.into_iter().filter(|(_, before, after)| before != after);
        let changes: Vec<FieldChange> =
            differ.map(|(field, before, after)| FieldChange::new(field, before, after)).collect();
        if let Some(view) = after.or(before)
            && !changes.is_empty()
        {
            self.note_act(Act::ViewEdited, format!("view {}", view.content.name), Vec::new(), changes);
        }
    }
}

fn name_taken(content: &ViewContent) -> Refusal {
    let message = format!("there is a view {:?} already", content.name);
    Refusal::new(ErrorCode::NAME_ALREADY_USED, message)
}
