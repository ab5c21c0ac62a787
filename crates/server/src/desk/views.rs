//! Saved views: the filters of the list of items that the reader has named, and those that are shared with its folders.

use askama::Template;

use super::DeskMode;
use super::call::{DeskCall, forbidden};
use super::frame::{Frame, note_cookie};
use super::html;
use super::items::{Choice, LIST};
use super::reply::Reply;
use super::routes::{CHANGE_QUEUES, REVIEW};
use crate::api_error::ApiError;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::view::{COLUMNS, SavedView, VIEW_NAME_LIMIT, ViewContent};

/// The path of the views.
const VIEWS: &str = "/desk/views";

/// What the list of items says of views.
pub(super) struct ViewsPart {
    pub(super) links: Vec<ViewLink>,
    /// What a new view would show.
    pub(super) query: String,
    pub(super) folders: Vec<Choice>,
    pub(super) is_on: bool,
    pub(super) name_limit: usize,
}

/// A view as a link.
pub(super) struct ViewLink {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) is_current: bool,
    pub(super) is_shared: bool,
}

/// The address of a view, in the folder that it is shared with or that the reader looks at.
fn address(call: &DeskCall, view: &SavedView) -> String {
    let folder = view.content.folder.or(call.folder).map(|folder| folder.to_string());
    let pairs = view.content.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let pairs: Vec<_> = pairs.chain(folder.as_deref().map(|folder| ("folder", folder))).collect();
    html::address(LIST, &pairs)
}

impl ViewsPart {
    pub(super) async fn of(
        call: &DeskCall,
        query: &ItemQuery,
        columns: Option<String>,
    ) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> =
            query.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        pairs.extend(columns.map(|columns| (COLUMNS.to_owned(), columns)));
        let link = |view: &SavedView| ViewLink {
            name: html::line(&view.content.name, 60),
            href: address(call, view),
            is_current: view.content.query == pairs
                && view.content.folder.is_none_or(|folder| call.folder == Some(folder)),
            is_shared: view.content.folder.is_some(),
        };
        Ok(Self {
            links: all(call).await?.iter().map(link).collect(),
            query: form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish(),
            folders: folders(call, None)?,
            is_on: call.server.config.desk == DeskMode::On && !call.is_remote(),
            name_limit: VIEW_NAME_LIMIT,
        })
    }
}

/// The views that the reader sees.
async fn all(call: &DeskCall) -> Result<Vec<SavedView>, ApiError> {
    if call.is_remote() {
        return Ok(Vec::new());
    }
    Ok(call.store_of_tenant().views(call.folders.clone()).await?)
}

/// Whom a view can be shared with: nobody, or a folder in which the reader may review.
fn folders(call: &DeskCall, chosen: Option<FolderId>) -> Result<Vec<Choice>, ApiError> {
    let directory = call.directory()?;
    let nobody = Choice { value: String::new(), text: "Only me".to_owned(), is_chosen: chosen.is_none() };
    let sharing = directory.folders().filter(|folder| {
        chosen == Some(folder.id) || call.folders.contains(&folder.id) && call.may(folder.id, REVIEW)
    });
    let folder = |folder: &crate::directory::Folder| Choice {
        value: folder.id.to_string(),
        text: format!("Everybody in {}", html::line(&directory.full_name(folder.id), 100)),
        is_chosen: chosen == Some(folder.id),
    };
    Ok(std::iter::once(nobody).chain(sharing.map(folder)).collect())
}

#[derive(Template)]
#[template(path = "views.html")]
struct ViewsPage {
    frame: Frame,
    rows: Vec<ViewRow>,
    name_limit: usize,
}

struct ViewRow {
    id: i64,
    /// The name as it is shown, and as a form has it.
    name: String,
    written: String,
    href: String,
    query: String,
    owner: String,
    shared: String,
    folders: Vec<Choice>,
    may_change: bool,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (directory, me, managed) = (call.directory()?, call.caller()?.user.id, managed(call));
    let is_on = call.server.config.desk == DeskMode::On;
    let row = |view: &SavedView| -> Result<ViewRow, ApiError> {
        let owner = directory.user(view.owner).map(|user| html::line(&user.user_name, 60));
        let pairs = view.content.query.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(ViewRow {
            id: view.id,
            name: html::visible(&view.content.name),
            written: view.content.name.clone(),
            href: address(call, view),
            query: html::line(&pairs.collect::<Vec<_>>().join(" "), 300),
            owner: owner.unwrap_or_else(|| "somebody who is gone".to_owned()),
            shared: match view.content.folder {
                None => "only you".to_owned(),
                Some(folder) => html::line(&directory.full_name(folder), 100),
            },
            folders: folders(call, view.content.folder)?,
            may_change: is_on && view.check_may_change(me, &managed).is_ok(),
        })
    };
    Reply::page(&ViewsPage {
        frame: call.frame("/desk/items"),
        rows: all(call).await?.iter().map(row).collect::<Result<_, _>>()?,
        name_limit: VIEW_NAME_LIMIT,
    })
}

/// The folders in which the caller may change views of others.
fn managed(call: &DeskCall) -> Vec<FolderId> {
    call.folders.iter().copied().filter(|folder| call.may(*folder, CHANGE_QUEUES)).collect()
}

/// The folder that the form shares the view with. `before`: with which it is shared already.
fn shared_with(call: &DeskCall, before: Option<FolderId>) -> Result<Option<FolderId>, ApiError> {
    let text = call.field("share");
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = || ApiError::invalid(format!("share: {text:?} is not the number of a folder."));
    let folder = text.parse().map(FolderId).map_err(|_| wrong())?;
    if before == Some(folder) || call.folders.contains(&folder) && call.may(folder, REVIEW) {
        return Ok(Some(folder));
    }
    let names: Vec<String> = REVIEW.iter().map(ToString::to_string).collect();
    Err(forbidden(&format!("{} in the folder, to share a view with it", names.join(" and "))))
}

/// Saves the filter of the form under a name.
pub(super) async fn add(call: &DeskCall) -> Result<Reply, ApiError> {
    let pairs = form_urlencoded::parse(call.field("query").as_bytes()).into_owned();
    let content = ViewContent {
        name: call.field("name").trim().to_owned(),
        query: pairs.filter(|(name, _)| name != "folder").collect(),
        folder: shared_with(call, None)?,
    };
    let view = call.store_of_tenant().add_view(content).await?;
    Ok(Reply::see_other(&address(call, &view)).cookie(&note_cookie("view-saved", 0)))
}

/// Renames a view, shares it or not, or deletes it.
pub(super) async fn edit(call: &DeskCall) -> Result<Reply, ApiError> {
    let id = call.number(0)?;
    let missing = || ApiError::not_found(format!("There is no view with the number {id}."));
    let view = all(call).await?.into_iter().find(|view| view.id == id).ok_or_else(missing)?;
    let (store, managed) = (call.store_of_tenant(), managed(call).into());
    let note = match call.field("act") {
        "delete" => {
            store.remove_view(id, managed).await?;
            "view-deleted"
        }
        "save" => {
            let folder = shared_with(call, view.content.folder)?;
            let name = call.field("name").trim().to_owned();
            store.edit_view(id, ViewContent { name, folder, ..view.content }, managed).await?;
            "view-saved"
        }
        other => return Err(ApiError::invalid(format!("act: {other:?} is not save or delete."))),
    };
    Ok(Reply::see_other(VIEWS).cookie(&note_cookie(note, 0)))
}
