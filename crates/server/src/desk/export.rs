//! A list of items as a file: CSV as `performer item export` writes it, which an import reads again; JSON for programs.

use super::call::DeskCall;
use super::items;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::cursor::PageCursor;
use performer_core::model::item::{PAGE_LIMIT, Page, QueueItem};
use performer_tables::import::{CsvExport, ExportColumns, ExportOptions};

/// The most items of a file, and the largest size of what they have in bytes but for the last page. A longer list is read on with
/// `after`.
const MAX_ITEMS: usize = 10_000;
const MAX_BYTES: usize = 8 * 1024 * 1024;
/// How large an item is besides its content, output and exception, in bytes.
const ITEM: usize = 512;
/// The most cells of a table: it has a column for each member that any item has.
const MAX_CELLS: usize = 2_000_000;

/// The memory that a file is expected to need, in bytes: its items and its text, both of which grow by doubling.
pub(super) const MEMORY: usize = 4 * MAX_BYTES;

/// Items, and where those that are left begin.
struct Items {
    items: Vec<QueueItem>,
    next: Option<PageCursor>,
}

/// The items of the filter, up to [`MAX_ITEMS`] and [`MAX_BYTES`].
async fn read(call: &DeskCall) -> Result<Items, ApiError> {
    let query = items::query_of(call)?;
    let filter = items::filter(call, &query, &call.queues().await?)?;
    let (mut all, mut bytes, mut after) = (Vec::new(), 0, query.after.clone());
    while all.len() < MAX_ITEMS && bytes < MAX_BYTES {
        let page = Page::first(PAGE_LIMIT).after(after).descending(true).count_limit(0);
        let (items, _) = items::read(call, filter.clone(), page).await?;
        let is_last = items.len() < PAGE_LIMIT;
        bytes += items.iter().map(size).sum::<usize>();
        all.extend(items);
        if is_last {
            return Ok(Items { items: all, next: None });
        }
        after = all.last().map(|last| PageCursor::behind(last, &filter.order));
    }
    Ok(Items { items: all, next: after })
}

fn size(item: &QueueItem) -> usize {
    let exception = item.processing_exception.as_ref();
    ITEM + item.specific_content.as_json().len()
        + item.output.as_ref().map_or(0, |output| output.as_json().len())
        + exception.map_or(0, |exception| exception.reason.len())
}

pub(super) async fn csv(call: &DeskCall) -> Result<Reply, ApiError> {
    let Items { items, next } = read(call).await?;
    let mut columns = ExportColumns::default();
    for item in &items {
        columns.see(item);
        if columns.len() * items.len() > MAX_CELLS {
            let message = "The items have too many different members for one table: take them as JSON, or fewer of them.";
            return Err(ApiError::invalid(message));
        }
    }
    // People open it in a spreadsheet program.
    let options = ExportOptions { with_history: true, guard_formulas: true };
    let failed = |error: std::io::Error| ApiError::internal(error.to_string());
    let mut text = Vec::new();
    let mut csv = CsvExport::new(&mut text, columns, options).map_err(failed)?;
    items.iter().try_for_each(|item| csv.write(item)).map_err(failed)?;
    csv.finish().map_err(failed)?;
    Ok(with_next(Reply::download("text/csv; charset=utf-8", "items.csv", text), next))
}

/// A file that ends before its list does says where the rest begins.
fn with_next(reply: Reply, next: Option<PageCursor>) -> Reply {
    const NEXT: &str = "x-performer-next";
    let name = axum::http::HeaderName::from_static(NEXT);
    next.into_iter().fold(reply, |reply, next| reply.header(name.clone(), &next.to_string()))
}

pub(super) async fn json(call: &DeskCall) -> Result<Reply, ApiError> {
    let failed = |error: serde_json::Error| ApiError::internal(error.to_string());
    let Items { items, next } = read(call).await?;
    let next_text = serde_json::to_string(&next.as_ref().map(ToString::to_string)).map_err(failed)?;
    let items = serde_json::to_string(&items).map_err(failed)?;
    let text = format!("{{\"value\":{items},\"next\":{next_text}}}");
    Ok(with_next(Reply::json(text.into_bytes()), next))
}
