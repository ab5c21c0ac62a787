//! `$filter` (contract section 4.1).

use crate::model::item::{ItemFilter, ReferenceFilter};
use crate::model::key::QueueId;

/// A text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Every condition of a filter, or `None` when there is none. Queues are known by their number there.
pub(crate) fn of_items(filter: &ItemFilter, queue: Option<QueueId>) -> Option<String> {
    let any_of = |field: &str, names: Vec<&str>| {
        let each: Vec<String> = names.iter().map(|name| format!("{field} eq {}", quoted(name))).collect();
        match each.len() {
            0 => None,
            1 => each.into_iter().next(),
            _ => Some(format!("({})", each.join(" or "))),
        }
    };
    let conditions = [
        queue.map(|queue| format!("QueueDefinitionId eq {queue}")),
        any_of("Status", filter.status.iter().map(|status| status.name()).collect()),
        any_of("ReviewStatus", filter.review_status.iter().map(|status| status.name()).collect()),
        filter.priority.map(|priority| format!("Priority eq {}", quoted(priority.name()))),
        filter.reference.as_ref().map(|reference| match reference {
            ReferenceFilter::Equals(text) => format!("Reference eq {}", quoted(text)),
            ReferenceFilter::StartsWith(text) => format!("startswith(Reference,{})", quoted(text)),
        }),
        filter.exception_type.map(|kind| format!("ProcessingExceptionType eq {}", quoted(kind.name()))),
        filter.key.map(|key| format!("Key eq {key}")),
        filter.created_from.map(|from| format!("CreationTime ge {}", super::Instant(from))),
        filter.created_before.map(|before| format!("CreationTime lt {}", super::Instant(before))),
    ];
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    (!conditions.is_empty()).then(|| conditions.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exception::ExceptionType;
    use crate::model::item::Priority;
    use crate::model::status::{ReviewStatus, Status};

    #[test]
    fn every_condition_is_written_in_the_dialect_of_the_contract() {
        assert_eq!(of_items(&ItemFilter::default(), None), None);
        let filter = ItemFilter {
            status: vec![Status::Failed, Status::Abandoned],
            review_status: vec![ReviewStatus::InReview],
            priority: Some(Priority::High),
            reference: Some(ReferenceFilter::StartsWith("O'Neil".to_owned())),
            exception_type: Some(ExceptionType::BusinessException),
            key: Some("1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11".parse().unwrap()),
            created_from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
            created_before: Some("2026-02-01T00:00:00Z".parse().unwrap()),
            ..ItemFilter::default()
        };
        assert_eq!(
            of_items(&filter, Some(QueueId(5))).unwrap(),
            "QueueDefinitionId eq 5 and (Status eq 'Failed' or Status eq 'Abandoned') and ReviewStatus eq 'InReview' \
             and Priority eq 'High' and startswith(Reference,'O''Neil') and ProcessingExceptionType eq 'BusinessException' \
             and Key eq 1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11 \
             and CreationTime ge 2026-01-01T00:00:00Z and CreationTime lt 2026-02-01T00:00:00Z"
        );
        let equals =
            ItemFilter { reference: Some(ReferenceFilter::Equals("a".to_owned())), ..ItemFilter::default() };
        assert_eq!(of_items(&equals, None).unwrap(), "Reference eq 'a'");
    }
}
