//! The audit of the store as the vendor's API shows it. Its own form, with the chain of digests, is in `insight_protocol.rs`.

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, MAX_ROWS};
use crate::directory::Directory;
use performer_core::model::audit::{AuditFilter, AuditRecord, MAX_RECORDS};
use performer_wire::odata::{Expression, Literal, Paging, entity_set};
use performer_wire::responses::{self, AuditActor};

type HandlerResult = Result<ApiResponse, ApiError>;

/// About how many bytes a record is.
const RECORD_BYTES: usize = 2 * 1024;
/// The service whose audit a header may ask for instead: this server has none of it.
const TEST_AUTOMATION: &str = "TestAutomation";

/// The entries, the newest first.
pub(super) async fn list(call: &Call) -> HandlerResult {
    let mut options = call.options()?;
    let with_entities = options.expands("Entities");
    if let [order] = &options.order[..]
        && order.descending
        && order.property.eq_ignore_ascii_case("Id")
    {
        options.order.clear(); // they are read in this order
    }
    let mut paging = Paging::new(&options, &entity_set::AUDIT_LOGS, MAX_ROWS)?;
    let mut filter = AuditFilter::default();
    filter.top = MAX_RECORDS;
    let first = paging.filter().map_or(0, |wanted| narrow(&mut filter, wanted));
    let is_of_tests = call.headers.get("x-uipath-auditedservice").is_some_and(|of| of == TEST_AUTOMATION);
    let (store, directory) = (call.store_for_caller(), call.directory()?);
    let mut memory = call.reserve_memory(MAX_RECORDS * RECORD_BYTES)?;
    while !is_of_tests && !paging.is_complete() {
        let records = store.audit(filter.clone()).await?;
        for record in records.iter().take_while(|record| record.id >= first) {
            let mut row = responses::audit_log(record, actor(directory, record));
            if with_entities {
                row["Entities"] = responses::audit_details(record).into();
            }
            paging.add(row)?;
        }
        let held = (MAX_RECORDS + paging.kept()) * RECORD_BYTES;
        if !memory.grow(held.saturating_sub(memory.bytes())) {
            return Err(ApiError::unavailable());
        }
        match records.last() {
            Some(last) if records.len() == MAX_RECORDS && last.id > first => filter.before = Some(last.id),
            _ => break,
        }
    }
    let (rows, count) = paging.finish()?;
    call.collection(entity_set::AUDIT_LOGS.name, rows, count)
}

/// Reads only the records that can match: those of some numbers, or of a time. Returns the smallest number.
fn narrow(filter: &mut AuditFilter, wanted: &Expression) -> u64 {
    let (from, to) = wanted.times_of("ExecutionTime");
    filter.from = from;
    // The filter's end is not in it.
    filter.to = to.and_then(|to| to.checked_add(jiff::SignedDuration::from_micros(1)).ok());
    let number = |literal: &Literal| match literal {
        Literal::Number(number) => u64::try_from(*number).ok(),
        _ => None,
    };
    let numbers = wanted.one_of("Id").map(|ids| ids.iter().map(number).collect::<Option<Vec<u64>>>());
    let Some(Some(numbers)) = numbers else { return 0 };
    filter.before = numbers.iter().max().map(|last| last.saturating_add(1));
    numbers.into_iter().min().unwrap_or_default()
}

/// What the directory knows of the actor of a record.
fn actor<'a>(directory: &'a Directory, record: &AuditRecord) -> AuditActor<'a> {
    let Some(id) = record.entry.actor.user_id else { return AuditActor::default() };
    let user = directory.user(id);
    AuditActor {
        user_type: user.map(|user| user.user_type),
        client: directory.clients().find(|client| client.user == id).map(|client| client.id.as_str()),
        is_deleted: user.is_none(),
    }
}

/// What the entry with the number `auditLogId` changed.
pub(super) async fn details(call: &Call) -> HandlerResult {
    let id: u64 = call.argument_as("auditLogId")?;
    let mut filter = AuditFilter::default();
    (filter.before, filter.top) = (Some(id.saturating_add(1)), 1);
    let found = call.store_for_caller().audit(filter).await?.into_iter().find(|record| record.id == id);
    let record = found.ok_or_else(|| ApiError::not_found(format!("Audit log {id} does not exist.")))?;
    call.page(&entity_set::AUDIT_DETAILS, responses::audit_details(&record))
}
