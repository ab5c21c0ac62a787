//! Requests to add, start, edit and end items, and to set their progress (orchestrator-api 7 to 10).

use serde::{Deserialize, Serialize};

use super::item::ProcessingExceptionDto;
use super::{ApiTime, ContentMap, EnumValue};
use performer_core::enumeration;
#[cfg(feature = "server")]
use performer_core::model::Refusal;
#[cfg(feature = "server")]
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{NewQueueItem, Priority, ReferenceFilter, Source};
#[cfg(feature = "server")]
use performer_core::model::key::JobKey;
use performer_core::model::result::TransactionResult;

/// The body of AddQueueItem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddQueueItemRequest {
    #[serde(rename = "itemData")]
    pub item_data: QueueItemDataDto,
}

/// A new item, or the new values of an item. The priority is always sent, because servers use High without it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueItemDataDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub priority: Option<EnumValue<Priority>>,
    pub specific_content: Option<ContentMap>,
    pub defer_date: Option<ApiTime>,
    pub due_date: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_sla_date: Option<ApiTime>,
    pub reference: Option<String>,
    pub progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<EnumValue<Source>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_operation_id: Option<String>,
    /// Only on our own server ([`GROUP`](super::lease_protocol::GROUP)).
    #[serde(rename = "PerformerGroup", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

impl QueueItemDataDto {
    /// A new item for a queue; `None` if the queue is named elsewhere in the body. `content` is valid JSON.
    pub fn new(queue: Option<&str>, item: &NewQueueItem, content: &str) -> Self {
        Self {
            name: queue.map(str::to_owned),
            priority: Some(item.priority.into()),
            specific_content: Some(ContentMap::of_json(content)),
            defer_date: item.defer_date.map(ApiTime::from),
            due_date: item.due_date.map(ApiTime::from),
            risk_sla_date: item.risk_sla_date.map(ApiTime::from),
            reference: item.reference.clone(),
            progress: item.progress.clone(),
            source: item.origin.source.map(Into::into),
            parent_operation_id: item.origin.parent_operation_id.clone(),
            group: item.group.clone(),
        }
    }

    /// Converts the body to a new item.
    ///
    /// # Errors
    ///
    /// Code 1009 for an unknown enumeration value.
    #[cfg(feature = "server")]
    pub fn into_item(self, creator_job: Option<JobKey>) -> Result<NewQueueItem, Refusal> {
        let mut item = NewQueueItem::from_json(self.specific_content.unwrap_or_default().as_json());
        // Some tools send an empty text for no reference; StartTransaction treats it in the same way.
        item.reference = self.reference.filter(|reference| !reference.is_empty());
        // UiPath's activities always send the priority, Normal by default.
        item.priority =
            self.priority.map_or(Ok(Priority::Normal), |priority| known_value("Priority", &priority))?;
        let source = self.source.map(|source| known_value("Source", &source)).transpose()?;
        item.origin.creator_job = creator_job;
        item.origin.parent_operation_id = self.parent_operation_id;
        item.origin.source = source;
        item.progress = self.progress;
        item.group = self.group;
        item.due_date = self.due_date.map(|at| at.0.into());
        item.defer_date = self.defer_date.map(|at| at.0.into());
        item.risk_sla_date = self.risk_sla_date.map(|at| at.0.into());
        Ok(item)
    }
}

/// A known value of an enumeration.
///
/// # Errors
///
/// Code 1009.
#[cfg(feature = "server")]
pub fn known_value<E: Copy + std::fmt::Display>(what: &str, value: &EnumValue<E>) -> Result<E, Refusal> {
    value.known().ok_or_else(|| {
        let shown: String = value.to_string().chars().take(60).collect();
        Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("{what} cannot be {shown:?}"))
    })
}

enumeration! {
    /// What a bulk add does when an item cannot be added. The numbers are not the vendor's.
    pub CommitTypeName {
        /// Adds no item.
        AllOrNothing = 0,
        /// Adds the items before it.
        StopOnFirstFailure = 1,
        /// Adds all valid items.
        ProcessAllIndependently = 2,
    }
}

/// The body of BulkAddQueueItems.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkAddQueueItemsRequest {
    pub queue_name: String,
    pub commit_type: EnumValue<CommitTypeName>,
    pub queue_items: Vec<QueueItemDataDto>,
}

/// The response to BulkAddQueueItems. The HTTP status is 200 even if items failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BulkAddResponse {
    pub success: Option<bool>,
    pub message: Option<String>,
    pub failed_items: Option<Vec<FailedQueueItemDto>>,
}

/// An item that could not be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedQueueItemDto {
    /// Counted from 1; null if it is unknown which item failed.
    pub ordinal: Option<usize>,
    /// The name of a code, not its number.
    pub error_code: Option<String>,
    pub error_message: Option<String>,
}

/// The body of StartTransaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StartTransactionRequest {
    #[serde(rename = "transactionData")]
    pub transaction_data: TransactionDataDto,
}

enumeration! {
    /// How a reference is compared. The numbers are not the vendor's.
    pub ReferenceFilterOption {
        /// It equals this text.
        Equals = 0,
        /// It starts with this text.
        StartsWith = 1,
    }
}

/// The item to start: the next one of the queue, or, with content, a new one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactionDataDto {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robot_identifier: Option<String>,
    pub specific_content: Option<ContentMap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defer_date: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_date: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_filter_option: Option<EnumValue<ReferenceFilterOption>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_operation_id: Option<String>,
}

impl TransactionDataDto {
    /// Starts the next item of a queue.
    pub fn next_item(queue: &str, robot: Option<&str>, reference: Option<&ReferenceFilter>) -> Self {
        let (reference, option) = match reference {
            Some(ReferenceFilter::Equals(text)) => (Some(text.clone()), Some(ReferenceFilterOption::Equals)),
            Some(ReferenceFilter::StartsWith(text)) => {
                (Some(text.clone()), Some(ReferenceFilterOption::StartsWith))
            }
            None => (None, None),
        };
        Self {
            name: queue.to_owned(),
            robot_identifier: robot.map(str::to_owned),
            specific_content: None,
            defer_date: None,
            due_date: None,
            reference,
            reference_filter_option: option.map(EnumValue::Known),
            parent_operation_id: None,
        }
    }

    /// Adds a new item and starts it.
    pub fn new_item(queue: &str, robot: Option<&str>, item: &NewQueueItem, content: &str) -> Self {
        Self {
            specific_content: Some(ContentMap::of_json(content)),
            defer_date: item.defer_date.map(ApiTime::from),
            due_date: item.due_date.map(ApiTime::from),
            reference: item.reference.clone(),
            parent_operation_id: item.origin.parent_operation_id.clone(),
            ..Self::next_item(queue, robot, None)
        }
    }
}

/// The body of SetTransactionResult.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetTransactionResultRequest {
    #[serde(rename = "transactionResult")]
    pub transaction_result: TransactionResultDto,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TransactionResultDto {
    /// False if it is absent: the vendor's document requires no member.
    #[serde(default)]
    pub is_successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processing_exception: Option<ProcessingExceptionDto>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defer_date: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due_date: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<ContentMap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub analytics: Option<ContentMap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
}

impl TransactionResultDto {
    /// Builds the body. An item is given back by postponing it until `ahead`, as the API has no other way
    /// (orchestrator-api 22). A result without a due date keeps the one of the item.
    ///
    /// A postponement has `IsSuccessful: true`, as the vendor's activity sends, and a date that has passed when the server
    /// reads it makes the item Successful. So no item is postponed to a time before `ahead`.
    pub fn new(
        result: &TransactionResult,
        progress: Option<&str>,
        due_date: Option<jiff::Timestamp>,
        ahead: jiff::Timestamp,
    ) -> Self {
        let mut dto = Self {
            is_successful: false,
            processing_exception: None,
            defer_date: None,
            due_date: None,
            output: None,
            analytics: None,
            progress: progress.map(str::to_owned),
            operation_id: None,
        };
        match result {
            TransactionResult::Successful { output } => {
                dto.is_successful = true;
                dto.output = output.as_ref().map(|output| ContentMap::of_json(output.as_json()));
            }
            TransactionResult::Failed { exception, defer_date } => {
                dto.processing_exception = exception.as_ref().map(ProcessingExceptionDto::from);
                dto.defer_date = defer_date.map(ApiTime);
            }
            TransactionResult::Postponed { defer_date, due_date: new } => {
                dto.is_successful = true;
                dto.defer_date = Some(ApiTime(ahead.max(*defer_date)));
                dto.due_date = new.or(due_date).map(ApiTime);
            }
            TransactionResult::GivenBack => {
                dto.is_successful = true;
                dto.defer_date = Some(ApiTime(ahead));
                dto.due_date = due_date.map(ApiTime);
            }
        }
        dto
    }
}

/// The body of SetTransactionProgress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetTransactionProgressRequest {
    pub progress: String,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::round_trip;
    use performer_core::model::exception::{ExceptionType, ProcessingException};

    #[test]
    fn the_bodies_of_the_contract_are_read_and_written() {
        let add: AddQueueItemRequest = round_trip(
            r#"{"itemData":{"Name":"Invoices","Priority":"Normal","Reference":"INV-17",
            "SpecificContent":{"amount":10.5,"customer":"ACME"},"DeferDate":null,"DueDate":"2026-09-01T00:00:00Z","RiskSlaDate":null,"Progress":null}}"#,
        );
        assert_eq!(add.item_data.priority, Some(Priority::Normal.into()));
        let bulk: BulkAddQueueItemsRequest = round_trip(
            r#"{"queueName":"Invoices","commitType":"processallindependently",
            "queueItems":[{"Reference":"INV-17","Priority":"High","SpecificContent":{"amount":"10.5"}}]}"#,
        );
        assert_eq!(bulk.commit_type, CommitTypeName::ProcessAllIndependently.into());
        let start: StartTransactionRequest = round_trip(
            r#"{"transactionData":{"Name":"Invoices","RobotIdentifier":"b66c1df3-0000-0000-0000-000000000000","SpecificContent":null,
            "DeferDate":null,"DueDate":null,"Reference":"INV-","ReferenceFilterOption":"StartsWith","ParentOperationId":null}}"#,
        );
        assert_eq!(start.transaction_data.reference.as_deref(), Some("INV-"));
        let failed: BulkAddResponse = round_trip(
            r#"{"@odata.context":"x","Success":false,"Message":"m","FailedItems":[{"Ordinal":2,"ErrorCode":"DuplicateReference","ErrorMessage":"e"},{"Ordinal":null}]}"#,
        );
        assert_eq!(failed.failed_items.unwrap()[1].ordinal, None);
        round_trip::<SetTransactionProgressRequest>(r#"{"progress":"step 3"}"#);
        round_trip::<SetTransactionResultRequest>(
            r#"{"transactionResult":{"IsSuccessful":false,
            "ProcessingException":{"Reason":"r","Details":"d","Type":"ApplicationException","AssociatedImageFilePath":"p","CreationTime":"2026-09-01T00:00:00Z"},
            "DeferDate":null,"DueDate":null,"Output":{},"Analytics":{},"Progress":"p","OperationId":"o"}}"#,
        );
    }

    #[test]
    fn every_result_has_its_form() {
        let at = Timestamp::from_second(1_800_000_000).unwrap();
        let due = Timestamp::from_second(1_900_000_000).unwrap();
        let written = |result: &TransactionResult| {
            serde_json::to_value(TransactionResultDto::new(result, None, Some(due), at)).unwrap()
        };
        assert_eq!(written(&TransactionResult::Successful { output: None }), json!({"IsSuccessful": true}));
        let exception = ProcessingException::new(ExceptionType::BusinessException, "no", at);
        let failed = written(&TransactionResult::Failed { exception: Some(exception), defer_date: None });
        assert_eq!(failed["ProcessingException"]["Type"], "BusinessException");
        assert_eq!(failed.get("DueDate"), None, "a copy keeps its due date by itself");
        let (defer, later) = ("2027-01-15T08:00:00Z", "2030-03-17T17:46:40Z");
        assert_eq!(
            written(&TransactionResult::GivenBack),
            json!({"IsSuccessful": true, "DeferDate": defer, "DueDate": later})
        );
        let postponed = TransactionResult::Postponed { defer_date: at, due_date: None };
        assert_eq!(written(&postponed), json!({"IsSuccessful": true, "DeferDate": defer, "DueDate": later}));
        let at = |date| TransactionResult::Postponed { defer_date: date, due_date: Some(due) };
        assert_eq!(
            written(&at(Timestamp::UNIX_EPOCH))["DeferDate"],
            defer,
            "not before the time that lies ahead"
        );
        assert_eq!(written(&at(due))["DeferDate"], later);
    }

    #[test]
    fn the_next_item_and_a_new_item_are_requested_differently() {
        let filter = ReferenceFilter::Equals("a".to_owned());
        let take =
            serde_json::to_value(TransactionDataDto::next_item("Q", Some("r"), Some(&filter))).unwrap();
        assert_eq!(
            take,
            json!({"Name": "Q", "RobotIdentifier": "r", "SpecificContent": null, "Reference": "a", "ReferenceFilterOption": "Equals"})
        );
        let item = NewQueueItem::new(json!({"a": 1})).reference("x");
        let create =
            serde_json::to_value(TransactionDataDto::new_item("Q", None, &item, r#"{"a":1}"#)).unwrap();
        assert_eq!(create, json!({"Name": "Q", "SpecificContent": {"a": 1}, "Reference": "x"}));
    }
}
