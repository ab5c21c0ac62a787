//! The audit: what people changed, and whether its chain is whole.

use askama::Template;

use super::call::DeskCall;
use super::frame::Frame;
use super::html::{self, Html};
use super::items::Choice;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::UnknownValue;
use performer_core::model::audit::{Act, AuditCheck, AuditFilter, AuditRecord, MAX_RECORDS};
use performer_core::model::item_query::TimeRange;
use performer_tables::import::{csv_line, guarded};

/// How many records a page has.
const ROWS: usize = 50;
/// The most records of a CSV file.
const MAX_FILE: usize = 10_000;
const COLUMNS: [&str; 10] =
    ["Id", "Time", "UserName", "Source", "Address", "Act", "Subject", "Items", "Changes", "Digest"];
/// How many items of a record are shown as links.
const ITEMS: usize = 5;

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    rows: Vec<AuditRow>,
    user: String,
    time: String,
    acts: Vec<Choice>,
    check: Option<Check>,
    next: Option<String>,
    csv: String,
    is_filtered: bool,
    is_continued: bool,
}

struct AuditRow {
    id: u64,
    time: Html,
    user: String,
    from: String,
    act: String,
    subject: String,
    /// The first items, as links.
    items: Vec<String>,
    more_items: usize,
    changes: Vec<ChangeRow>,
}

struct ChangeRow {
    field: String,
    before: String,
    after: String,
}

/// What a check of the chain found.
struct Check {
    is_good: bool,
    text: String,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let filter = filter(call, ROWS)?;
    let store = call.store_of_tenant();
    let records = store.audit(filter.clone()).await?;
    let check = match call.query_value("check") {
        "" => None,
        _ => Some(told(&store.check_audit(None).await?)),
    };
    let last = records.last().filter(|_| records.len() == ROWS).map(|record| record.id.to_string());
    let acts = Act::ALL.iter().map(|act| Choice {
        value: act.name().to_owned(),
        text: words(act.name()),
        is_chosen: filter.acts.contains(act),
    });
    Reply::page(&AuditPage {
        frame: call.frame("/desk/audit"),
        user: call.query_value("user").to_owned(),
        time: call.query_value("time").to_owned(),
        acts: acts.collect(),
        check,
        next: last.map(|last| address(call, "/desk/audit", Some(&last))),
        csv: address(call, "/desk/audit.csv", None),
        is_filtered: !filter.acts.is_empty()
            || filter.user_name.is_some()
            || filter.from.is_some()
            || filter.to.is_some(),
        is_continued: filter.before.is_some(),
        rows: records.iter().map(row).collect(),
    })
}

pub(super) async fn csv(call: &DeskCall) -> Result<Reply, ApiError> {
    let store = call.store_of_tenant();
    let mut filter = filter(call, MAX_RECORDS)?;
    let mut text = COLUMNS.join(",") + "\r\n";
    let mut count = 0;
    while count < MAX_FILE {
        let records = store.audit(filter.clone()).await?;
        for record in &records {
            text.push_str(&csv_line(',', cells(record)?.iter().map(String::as_str)));
        }
        count += records.len();
        filter.before = records.last().map(|record| record.id);
        if records.len() < MAX_RECORDS {
            break;
        }
    }
    Ok(Reply::download("text/csv; charset=utf-8", "audit.csv", text.into_bytes()))
}

/// The filter that the address names.
fn filter(call: &DeskCall, top: usize) -> Result<AuditFilter, ApiError> {
    let mut filter = AuditFilter::default();
    filter.top = top;
    let given = |name: &str| Some(call.query_value(name).trim().to_owned()).filter(|text| !text.is_empty());
    filter.user_name = given("user");
    if let Some(act) = given("act") {
        filter.acts =
            vec![act.parse().map_err(|error: UnknownValue| ApiError::invalid_argument(error.to_string()))?];
    }
    if let Some(time) = given("time") {
        (filter.from, filter.to) = time.parse::<TimeRange>()?.at(call.now());
    }
    if let Some(before) = given("before") {
        let number =
            before.parse().map_err(|_| ApiError::invalid_argument("before is the number of a record"))?;
        filter.before = Some(number);
    }
    Ok(filter)
}

fn address(call: &DeskCall, path: &str, before: Option<&str>) -> String {
    let given = ["user", "act", "time"].map(|name| (name, call.query_value(name)));
    let pairs: Vec<_> = given
        .into_iter()
        .chain(before.map(|id| ("before", id)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    html::address(path, &pairs)
}

fn row(record: &AuditRecord) -> AuditRow {
    let entry = &record.entry;
    let shown = |value: &Option<serde_json::Value>| match value {
        None => "–".to_owned(),
        Some(serde_json::Value::String(text)) => html::line(text, 200),
        Some(value) => html::line(&value.to_string(), 200),
    };
    let changes = entry.changes.iter().map(|change| ChangeRow {
        field: html::line(&change.field, 80),
        before: shown(&change.before),
        after: shown(&change.after),
    });
    AuditRow {
        id: record.id,
        time: html::time(entry.time),
        user: entry.actor.user_name.as_deref().map_or_else(|| "–".to_owned(), |name| html::line(name, 60)),
        from: match &entry.actor.address {
            Some(address) => format!("{}, {address}", entry.actor.source),
            None => entry.actor.source.to_string(),
        },
        act: words(entry.act.name()),
        subject: html::line(&entry.subject, 120),
        items: entry.items.iter().take(ITEMS).map(ToString::to_string).collect(),
        more_items: entry.items.len().saturating_sub(ITEMS),
        changes: changes.collect(),
    }
}

fn cells(record: &AuditRecord) -> Result<[String; 10], ApiError> {
    let entry = &record.entry;
    let failed = |error: serde_json::Error| ApiError::internal(error.to_string());
    let items: Vec<String> = entry.items.iter().map(ToString::to_string).collect();
    Ok([
        record.id.to_string(),
        entry.time.to_string(),
        guarded(entry.actor.user_name.clone().unwrap_or_default()),
        entry.actor.source.to_string(),
        entry.actor.address.clone().unwrap_or_default(),
        entry.act.to_string(),
        guarded(entry.subject.clone()),
        items.join(" "),
        serde_json::to_string(&entry.changes).map_err(failed)?,
        record.digest.clone(),
    ])
}

fn told(check: &AuditCheck) -> Check {
    let text = match &check.broken {
        None => format!("The chain of {} records is whole; its head is {}.", check.records, head(check)),
        Some(broken) => format!("The chain is broken at record {}: {}.", broken.id, broken.reason),
    };
    Check { is_good: check.broken.is_none(), text }
}

fn head(check: &AuditCheck) -> &str {
    check.head.as_deref().unwrap_or("empty")
}

/// `ItemsReviewed` as "Items reviewed".
fn words(name: &str) -> String {
    let mut words = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && letter.is_ascii_uppercase() {
            words.push(' ');
            words.push(letter.to_ascii_lowercase());
        } else {
            words.push(letter);
        }
    }
    words
}
