//! Items in responses (orchestrator-api 12.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{ApiTime, ContentMap, EnumValue, Unreadable};
use performer_core::model::content::{Output, SpecificContent};
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::item::{Priority, QueueItem};
use performer_core::model::key::{ItemId, ItemKey, QueueId};
use performer_core::model::result::Outcome;
use performer_core::model::status::{ReviewStatus, Status};

/// The version of an item: eight bytes in base64 that increase with every change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowVersion(pub u64);

impl Serialize for RowVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.to_be_bytes()))
    }
}

impl<'de> Deserialize<'de> for RowVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes()).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        bytes
            .map(|bytes| Self(u64::from_be_bytes(bytes)))
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not eight bytes in base64")))
    }
}

/// The exception of a failed item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessingExceptionDto {
    pub reason: Option<String>,
    pub details: Option<String>,
    #[serde(rename = "Type")]
    pub exception_type: Option<EnumValue<ExceptionType>>,
    pub associated_image_file_path: Option<String>,
    pub creation_time: Option<ApiTime>,
}

impl From<&ProcessingException> for ProcessingExceptionDto {
    fn from(exception: &ProcessingException) -> Self {
        Self {
            reason: Some(exception.reason.clone()),
            details: exception.details.clone(),
            exception_type: Some(exception.exception_type.into()),
            associated_image_file_path: exception.associated_image_file_path.clone(),
            creation_time: Some(exception.creation_time.into()),
        }
    }
}

/// The members of an item that identify who holds it. Parsed alone, so that other invalid members do not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ItemOwner {
    pub id: i64,
    pub robot_id: Option<i64>,
    pub executor_job_key: Option<uuid::Uuid>,
    pub start_processing: Option<ApiTime>,
}

impl From<&QueueItemDto> for ItemOwner {
    fn from(item: &QueueItemDto) -> Self {
        Self {
            id: item.id,
            robot_id: item.robot_id,
            executor_job_key: item.executor_job_key,
            start_processing: item.start_processing,
        }
    }
}

/// An item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueItemDto {
    pub id: i64,
    pub key: uuid::Uuid,
    pub status: EnumValue<Status>,
    pub unique_key: Option<uuid::Uuid>,
    pub queue_definition_id: Option<i64>,
    pub review_status: Option<EnumValue<ReviewStatus>>,
    pub reviewer_user_id: Option<i64>,
    pub priority: Option<EnumValue<Priority>>,
    pub reference: Option<String>,
    #[serde(rename = "PerformerGroup", skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    pub specific_content: Option<ContentMap>,
    pub specific_data: Option<String>,
    pub output: Option<ContentMap>,
    pub processing_exception: Option<ProcessingExceptionDto>,
    pub processing_exception_type: Option<EnumValue<ExceptionType>>,
    pub due_date: Option<ApiTime>,
    pub defer_date: Option<ApiTime>,
    pub risk_sla_date: Option<ApiTime>,
    pub creation_time: Option<ApiTime>,
    pub start_processing: Option<ApiTime>,
    pub end_processing: Option<ApiTime>,
    pub seconds_in_previous_attempts: Option<f64>,
    pub retry_number: Option<u32>,
    pub ancestor_id: Option<i64>,
    pub manual_retry_number: Option<u32>,
    pub manual_ancestor_id: Option<i64>,
    pub progress: Option<String>,
    pub robot_id: Option<i64>,
    pub executor_job_key: Option<uuid::Uuid>,
    pub operation_id: Option<String>,
    pub parent_operation_id: Option<String>,
    pub row_version: Option<RowVersion>,
}

impl QueueItemDto {
    /// The Status; an error if this version does not know it.
    pub fn status(&self) -> Result<Status, Unreadable> {
        self.status.known().ok_or_else(|| {
            Unreadable(format!(
                "item {} has the Status {:?}, which is unknown",
                self.id,
                self.status.to_string()
            ))
        })
    }

    /// Converts the item. Unknown priorities and review states are replaced by defaults; an unknown Status is an error.
    pub fn into_item(self) -> Result<QueueItem, Unreadable> {
        let status = self.status()?;
        let review_status =
            self.review_status.as_ref().and_then(EnumValue::known).unwrap_or(ReviewStatus::None);
        let exception_type = self.exception_type();
        let outcome = outcome(status, exception_type);
        let key = ItemKey::from_bytes(self.key.into_bytes());
        let creation_time =
            self.creation_time.or(self.start_processing).map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        let content = self.specific_content.unwrap_or_default().with_texts_of(self.specific_data.as_deref());
        let processing_exception = self.processing_exception.map(|exception| {
            let at = exception.creation_time.or(self.end_processing).map_or(creation_time, |at| at.0);
            let kind = exception_type.unwrap_or(ExceptionType::ApplicationException);
            ProcessingException::new(kind, exception.reason.unwrap_or_default(), at)
                .details(exception.details)
                .image(exception.associated_image_file_path)
        });
        let mut item = QueueItem::new(
            ItemId(self.id),
            self.unique_key
                .map_or_else(|| own_key(key, self.id), |key| ItemKey::from_bytes(key.into_bytes())),
            QueueId(self.queue_definition_id.unwrap_or_default()),
            SpecificContent::from_stored(content),
            creation_time,
        );
        item.key = key;
        item.status = status;
        item.review_status = review_status;
        item.reviewer_user_id = self.reviewer_user_id;
        item.priority = self.priority.as_ref().and_then(EnumValue::known).unwrap_or(Priority::Normal);
        item.reference = self.reference;
        item.group = self.group;
        item.output = self
            .output
            .filter(|output| !output.is_empty())
            .map(|output| Output::from_stored(output.with_texts_of(None)));
        item.processing_exception = processing_exception;
        item.outcome = outcome;
        item.due_date = self.due_date.map(|at| at.0);
        item.defer_date = self.defer_date.map(|at| at.0);
        item.risk_sla_date = self.risk_sla_date.map(|at| at.0);
        item.start_processing = self.start_processing.map(|at| at.0);
        item.end_processing = self.end_processing.map(|at| at.0);
        item.seconds_in_previous_attempts = whole_seconds(self.seconds_in_previous_attempts);
        item.retry_number = self.retry_number.unwrap_or_default();
        item.ancestor_id = self.ancestor_id.map(ItemId);
        item.manual_retry_number = self.manual_retry_number.unwrap_or_default();
        item.manual_ancestor_id = self.manual_ancestor_id.map(ItemId);
        item.is_superseded = status == Status::Retried || review_status == ReviewStatus::Retried;
        item.progress = self.progress;
        item.executor_job =
            self.executor_job_key.map(|key| performer_core::model::key::JobKey::from_bytes(key.into_bytes()));
        item.robot_id = self.robot_id;
        item.operation_id = self.operation_id;
        item.parent_operation_id = self.parent_operation_id;
        item.row_version = self.row_version.unwrap_or_default().0;
        Ok(item)
    }

    fn exception_type(&self) -> Option<ExceptionType> {
        let inline =
            self.processing_exception.as_ref().and_then(|exception| exception.exception_type.as_ref());
        self.processing_exception_type.as_ref().or(inline).and_then(EnumValue::known)
    }
}

/// The outcome of an attempt, derived from its Status and the type of its exception.
fn outcome(status: Status, exception_type: Option<ExceptionType>) -> Option<Outcome> {
    let by_type = exception_type.map(|kind| match kind {
        ExceptionType::ApplicationException => Outcome::ApplicationException,
        ExceptionType::BusinessException => Outcome::BusinessException,
    });
    match status {
        Status::New | Status::InProgress => None,
        Status::Successful => Some(Outcome::Successful),
        Status::Failed => by_type.or(Some(Outcome::Unspecified)),
        Status::Retried => by_type.or(Some(Outcome::Abandoned)),
        Status::Abandoned => Some(Outcome::Abandoned),
        Status::Deleted => by_type,
    }
}

/// A unique key for an attempt on old servers, which have none: the key of the chain combined with the id.
fn own_key(key: ItemKey, id: i64) -> ItemKey {
    let mut bytes = key.to_bytes();
    for (byte, of_id) in bytes[8..].iter_mut().zip(id.to_be_bytes()) {
        *byte ^= of_id;
    }
    ItemKey::from_bytes(bytes)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float that is too large ends at the largest number"
)]
fn whole_seconds(seconds: Option<f64>) -> u32 {
    seconds.unwrap_or_default() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;

    /// The 27 keys of a body of 2020 (orchestrator-api 12.1), values of our own.
    const OF_2020: &str = r##"{"@odata.context":"https://x/odata/$metadata#Queues/$entity",
        "QueueDefinitionId":7,"OutputData":null,"AnalyticsData":null,"Status":"InProgress","ReviewStatus":"None",
        "ReviewerUserId":null,"Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11","Reference":"INV-1",
        "ProcessingExceptionType":null,"DueDate@odata.type":"#DateTimeOffset","DueDate":null,"RiskSlaDate":null,"Priority":"Normal",
        "DeferDate":null,"StartProcessing":"2026-08-20T10:00:00.1234567Z","EndProcessing":null,
        "SecondsInPreviousAttempts":0,"AncestorId":null,"RetryNumber":0,
        "SpecificData":"{\"DynamicProperties\":{\"amount\":10.5,\"when\":\"2019-12-06T17:00:05.000Z\"}}",
        "CreationTime":"2026-08-20T09:59:00.13Z","Progress":null,"RowVersion":"AAAAAAAAKZc=","Id":1234,
        "ProcessingException":null,"SpecificContent":{"amount":10.5,"when":"2019-12-06T17:00:05Z"},"Output":null,"Analytics":null}"##;

    #[test]
    fn a_response_of_2020_is_parsed() {
        let item = round_trip::<QueueItemDto>(OF_2020).into_item().unwrap();
        assert_eq!((item.id, item.queue_id, item.status), (ItemId(1234), QueueId(7), Status::InProgress));
        assert_eq!((item.row_version, item.priority), (0x2997, Priority::Normal));
        assert_eq!(item.specific_content.to_value()["when"], "2019-12-06T17:00:05.000Z");
        assert_eq!((item.output, item.outcome), (None, None));
        assert_ne!(
            item.unique_key, item.key,
            "an attempt has a key of its own, also where the server gives none"
        );
    }

    #[test]
    fn three_members_are_sufficient() {
        let json = r#"{"Id":1,"Status":5,"Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11"}"#;
        let item = round_trip::<QueueItemDto>(json).into_item().unwrap();
        assert_eq!(
            (item.status, item.outcome, item.is_superseded),
            (Status::Retried, Some(Outcome::Abandoned), true)
        );
    }

    #[test]
    fn the_outcome_is_derived_from_the_exception() {
        let json = |status: &str, kind: &str| {
            format!(
                r#"{{"Id":1,"Status":"{status}","Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11",
                "ProcessingException":{{"Reason":"r","Type":{kind}}}}}"#
            )
        };
        for (status, kind, outcome) in [
            ("Failed", "\"BusinessException\"", Some(Outcome::BusinessException)),
            ("Failed", "0", Some(Outcome::ApplicationException)),
            ("Failed", "null", Some(Outcome::Unspecified)),
            ("Retried", "\"applicationexception\"", Some(Outcome::ApplicationException)),
            ("Abandoned", "null", Some(Outcome::Abandoned)),
            ("Deleted", "1", Some(Outcome::BusinessException)),
            ("Deleted", "null", None),
        ] {
            let item = round_trip::<QueueItemDto>(&json(status, kind)).into_item().unwrap();
            assert_eq!(item.outcome, outcome, "{status} {kind}");
            assert_eq!(item.processing_exception.unwrap().reason, "r");
        }
    }

    #[test]
    fn an_unknown_status_is_an_error_and_an_unknown_priority_is_not() {
        let key = r#""Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11""#;
        let unknown: QueueItemDto = round_trip(&format!(r#"{{"Id":1,"Status":"Paused",{key}}}"#));
        assert_eq!(
            unknown.into_item().unwrap_err().to_string(),
            "item 1 has the Status \"Paused\", which is unknown"
        );
        let urgent: QueueItemDto =
            round_trip(&format!(r#"{{"Id":1,"Status":"New","Priority":"Critical",{key}}}"#));
        assert_eq!(urgent.into_item().unwrap().priority, Priority::Normal);
    }

    /// Malformed input is an error, never a panic.
    #[test]
    fn hostile_input_is_an_error() {
        for end in 0..OF_2020.len() {
            assert!(serde_json::from_str::<QueueItemDto>(&OF_2020[..end]).is_err(), "cut at {end}");
        }
        let with = |member: &str| {
            let json =
                format!(r#"{{"Id":1,"Status":"New","Key":"1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11",{member}}}"#);
            serde_json::from_str::<QueueItemDto>(&json).map(QueueItemDto::into_item)
        };
        let deep = format!("\"SpecificContent\":{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000));
        for bad in [
            deep.as_str(),
            "\"Id\":2",
            "\"RetryNumber\":99999999999999999999",
            "\"RetryNumber\":-1",
            "\"SecondsInPreviousAttempts\":NaN",
            "\"CreationTime\":\"yesterday\"",
            "\"CreationTime\":\"99999-01-01T00:00:00Z\"",
            "\"SpecificContent\":[1]",
            "\"Progress\":7",
        ] {
            assert!(with(bad).is_err(), "{}", &bad[..bad.len().min(60)]);
        }
        for good in [
            "\"SecondsInPreviousAttempts\":1e300",
            "\"CreationTime\":\"0001-01-01T00:00:00\"",
            "\"SpecificContent\":{\"a\":{\"nested\":[1]}}",
            "\"SpecificContent\":{\"a\":123456789012345678901234567890}",
            "\"SpecificData\":\"{\"",
            "\"New@odata.type\":\"#Int64\",\"New\":[{}]",
        ] {
            assert!(with(good).unwrap().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_row_version_is_eight_bytes() {
        assert_eq!(round_trip::<RowVersion>("\"AAAAAAAAKZc=\""), RowVersion(0x2997));
        for bad in ["\"AAAA\"", "\"?\"", "7"] {
            assert!(serde_json::from_str::<RowVersion>(bad).is_err(), "{bad}");
        }
    }
}
