//! The W3C trace context of the caller that adds an item, as the header `traceparent` writes it.
//!
//! It is kept with the item as its `ParentOperationId`, so that the span of its transaction can follow from it: see
//! `docs/decisions/0077-the-creator-of-an-item-is-the-parent-of-its-transactions.md`.

use std::fmt;

use crate::model::item::NewQueueItem;

/// The name of the header.
pub const HEADER: &str = "traceparent";

/// The version that is written here. A value of it has exactly four fields.
const VERSION: u8 = 0;
/// The length of those four fields: `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;
/// The flags of version 00 that are defined: sampled, and a random trace id.
const KNOWN_FLAGS: u8 = 0x03;
/// The one flag that every version has.
const SAMPLED: u8 = 0x01;

/// A span, named by its trace and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never 0.
    pub trace_id: u128,
    /// The span; never 0.
    pub span_id: u64,
    /// Whether it is sampled, and whether the id of its trace is random.
    pub flags: u8,
}

impl TraceParent {
    /// Reads the value of a header. `None` if it is not exactly of the form that the recommendation Trace Context gives: lower-case
    /// hexadecimal digits, no id that is 0, no version `ff`. Of a later version the first four fields are read, as the
    /// recommendation asks; flags that are not known are cleared.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let separators = [2, 35, 52];
        if bytes.len() < LENGTH || separators.iter().any(|at| bytes[*at] != b'-') {
            return None;
        }
        let version = u8::try_from(digits(&bytes[..2])?).ok().filter(|version| *version != u8::MAX)?;
        let ends_there = bytes.len() == LENGTH;
        if !ends_there && (version == VERSION || bytes[LENGTH] != b'-') {
            return None;
        }
        let trace_id = digits(&bytes[3..35]).filter(|id| *id != 0)?;
        let span_id = u64::try_from(digits(&bytes[36..52])?).ok().filter(|id| *id != 0)?;
        let flags = u8::try_from(digits(&bytes[53..LENGTH])?).ok()?;
        let known = if version == VERSION { KNOWN_FLAGS } else { SAMPLED };
        Some(Self { trace_id, span_id, flags: flags & known })
    }
}

/// The number that lower-case hexadecimal digits stand for, at most 32 of them.
fn digits(bytes: &[u8]) -> Option<u128> {
    bytes.iter().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION:02x}-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, self.flags)
    }
}

/// Keeps the span in which an item is added with the item, unless the caller gave a ParentOperationId. Without the feature `otel`,
/// and outside of all spans, nothing is kept.
pub fn keep(item: &mut NewQueueItem) {
    keep_given(item, current());
}

/// Keeps a span with an item, unless the caller gave a ParentOperationId.
pub fn keep_given(item: &mut NewQueueItem, parent: Option<TraceParent>) {
    let kept = &mut item.origin.parent_operation_id;
    if kept.is_none() {
        *kept = parent.map(|parent| parent.to_string());
    }
}

/// The span that the caller is in, if OpenTelemetry knows it. `None` without the feature `otel`.
pub fn current() -> Option<TraceParent> {
    #[cfg(feature = "otel")]
    return of_opentelemetry();
    #[cfg(not(feature = "otel"))]
    None
}

#[cfg(feature = "otel")]
fn of_opentelemetry() -> Option<TraceParent> {
    use opentelemetry::Context;
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let of = |context: &Context| {
        let span = context.span();
        let span = span.span_context();
        let (trace_id, span_id) = (span.trace_id().to_bytes(), span.span_id().to_bytes());
        span.is_valid().then(|| TraceParent {
            trace_id: u128::from_be_bytes(trace_id),
            span_id: u64::from_be_bytes(span_id),
            flags: span.trace_flags().to_u8() & KNOWN_FLAGS,
        })
    };
    // The innermost span of tracing may be one that the layer of OpenTelemetry does not see, because of its filter. The context of
    // the thread is that of the innermost one that it sees, but a layer can be told not to set it.
    Context::map_current(of).or_else(|| of(&tracing::Span::current().context()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_as_it_is() {
        let parent = TraceParent::parse(GOOD).unwrap();
        let ids = (0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c, 0xb7ad_6b71_6920_3331);
        assert_eq!((parent.trace_id, parent.span_id, parent.flags), (ids.0, ids.1, 1));
        for same in
            [GOOD, "00-00000000000000000000000000000001-0000000000000001-00", &GOOD.replace("-01", "-03")]
        {
            assert_eq!(TraceParent::parse(same).unwrap().to_string(), same);
        }
    }

    #[test]
    fn unknown_flags_and_later_versions_become_what_is_known_of_them() {
        for later in [
            GOOD.replace("-01", "-fd"),
            GOOD.replace("00-", "01-"),
            GOOD.replace("00-", "01-").replace("-01", "-07"),
            GOOD.replace("00-", "cc-").replace("-01", "-01-what-the-future-will-be-like"),
        ] {
            assert_eq!(TraceParent::parse(&later).unwrap().to_string(), GOOD, "{later}");
        }
    }

    #[test]
    fn what_is_malformed_is_none() {
        let swapped = |at: usize, by: &str| format!("{}{by}{}", &GOOD[..at], &GOOD[at + by.len()..]);
        for bad in [
            String::new(),
            "00".to_owned(),
            GOOD[..54].to_owned(),
            format!(" {GOOD}"),
            format!("{GOOD} "),
            format!("{GOOD}-"),
            format!("{GOOD}-00"),
            format!("{GOOD}0"),
            GOOD.to_uppercase(),
            swapped(0, "ff"),
            swapped(0, "0g"),
            swapped(0, "0A"),
            swapped(2, "_"),
            swapped(35, "0"),
            swapped(52, ":"),
            swapped(3, "+"),
            swapped(10, "F"),
            swapped(40, "x"),
            swapped(53, "0x"),
            swapped(53, "é"),
            swapped(3, &"0".repeat(32)),
            swapped(36, &"0".repeat(16)),
            GOOD.replace("00-", "01-") + "0",
            GOOD.replace('-', ""),
        ] {
            assert_eq!(TraceParent::parse(&bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_the_caller_gave_stays() {
        let parent = TraceParent::parse(GOOD);
        let mut item = NewQueueItem::new(serde_json::json!({}));
        keep_given(&mut item, None);
        assert_eq!(item.origin.parent_operation_id, None);
        keep_given(&mut item, parent);
        assert_eq!(item.origin.parent_operation_id.as_deref(), Some(GOOD));
        item.origin.parent_operation_id = Some("of the caller".to_owned());
        keep_given(&mut item, parent);
        assert_eq!(item.origin.parent_operation_id.as_deref(), Some("of the caller"));
    }
}
