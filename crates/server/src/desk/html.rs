//! Texts, times and numbers as they are shown. What comes from an item is data: the templates escape it, and [`visible`] shows what a
//! reader could not see.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use jiff::Timestamp;

use performer_core::model::exception::ExceptionType;
use performer_core::model::job::JobState;
use performer_core::model::operation::OperationState;
use performer_core::model::result::Outcome;
use performer_core::model::status::{ReviewStatus, Status};

/// HTML that this crate has written. A template does not escape it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HtmlSafe for Html {}

impl Html {
    pub(super) fn of(html: String) -> Self {
        Self(html)
    }
}

/// A text in which HTML means nothing.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

/// A text in which every character can be seen: control characters as their pictures, and characters that change the direction of
/// the text or have no width by their numbers. Line feeds and tabs stay.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\t' => shown.push(letter),
            '\u{0}'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(letter))),
            '\u{7f}' => shown.push('\u{2421}'),
            '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}' => shown.push_str(&format!("⟨U+{:04X}⟩", u32::from(letter))),
            other => shown.push(other),
        }
    }
    shown
}

/// The beginning of a text, on one line.
pub(super) fn line(text: &str, most: usize) -> String {
    let one: String =
        text.chars().take(most).map(|letter| if letter == '\n' { ' ' } else { letter }).collect();
    let more = if text.chars().nth(most).is_some() { "…" } else { "" };
    visible(&one) + more
}

/// A time: in UTC, until the script shows it in the reader's time zone.
pub(super) fn time(at: Timestamp) -> Html {
    let (machine, text) = (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M:%S"));
    Html(format!("<time datetime=\"{machine}\" title=\"{text} UTC\">{text}</time>"))
}

/// A time without its seconds, for the ends of an axis.
pub(super) fn short_time(at: Timestamp) -> Html {
    let (machine, text) = (at.strftime("%Y-%m-%dT%H:%M:%SZ"), at.strftime("%Y-%m-%d %H:%M"));
    Html(format!("<time datetime=\"{machine}\" title=\"{text} UTC\" data-short>{text}</time>"))
}

/// A time that may be absent.
pub(super) fn optional_time(at: Option<Timestamp>) -> Html {
    at.map_or_else(|| Html("–".to_owned()), time)
}

/// A number with commas between its thousands.
pub(super) fn number(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = if number < 0 { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration by its two largest units.
pub(super) fn duration(took: Duration) -> String {
    let seconds = took.as_secs();
    match seconds {
        0 => format!("{} ms", took.as_millis()),
        1..=9 => format!("{:.1} s", took.as_secs_f64()),
        10..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// How long ago a time is; nothing for one that is ahead.
pub(super) fn since(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or_default()
}

fn badge(class: &str, shape: &str, word: &str) -> Html {
    Html(format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{shape}</span> {word}</span>"))
}

/// A status, by word, shape and colour: colour alone says nothing to everybody.
pub(super) fn status(status: Status) -> Html {
    let (class, shape) = match status {
        Status::New => ("new", "○"),
        Status::InProgress => ("busy", "◐"),
        Status::Failed => ("failed", "■"),
        Status::Successful => ("good", "●"),
        Status::Abandoned => ("abandoned", "◇"),
        Status::Retried => ("retried", "↻"),
        Status::Deleted => ("deleted", "×"),
    };
    badge(class, shape, status.name())
}

/// A review status; nothing for an item that nobody reviews.
pub(super) fn review(review: ReviewStatus) -> Html {
    let (class, shape) = match review {
        ReviewStatus::None => return Html(String::new()),
        ReviewStatus::InReview => ("busy", "◎"),
        ReviewStatus::Verified => ("good", "✓"),
        ReviewStatus::Retried => ("retried", "↻"),
    };
    badge(class, shape, review.name())
}

/// A kind of exception.
pub(super) fn exception(kind: ExceptionType) -> Html {
    match kind {
        ExceptionType::ApplicationException => badge("application", "▲", "Application"),
        ExceptionType::BusinessException => badge("business", "◆", "Business"),
    }
}

/// The state of a job.
pub(super) fn job(state: JobState) -> Html {
    let (class, shape) = match state {
        JobState::Faulted => ("failed", "■"),
        JobState::Successful => ("good", "●"),
        JobState::Stopped => ("deleted", "□"),
        JobState::Stopping | JobState::Terminating => ("abandoned", "◇"),
        JobState::Pending | JobState::Running | JobState::Suspended | JobState::Resumed => ("busy", "◐"),
    };
    badge(class, shape, state.name())
}

/// The state of an operation.
pub(super) fn operation(state: OperationState) -> Html {
    let (class, shape) = match state {
        OperationState::Preparing | OperationState::Preview => ("new", "○"),
        OperationState::Running | OperationState::Waiting => ("busy", "◐"),
        OperationState::Holding => ("abandoned", "◇"),
        OperationState::Stopped => ("deleted", "□"),
        OperationState::Done => ("good", "●"),
    };
    badge(class, shape, state.name())
}

/// How an attempt ended, as the name of a series in a chart.
pub(super) fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Successful => ("Successful", "good"),
        Outcome::BusinessException => ("BusinessException", "business"),
        Outcome::ApplicationException => ("ApplicationException", "application"),
        Outcome::Abandoned => ("Abandoned", "abandoned"),
        Outcome::Unspecified => ("Other", "deleted"),
    }
}

/// An address with a query.
pub(super) fn address(path: &str, pairs: &[(&str, &str)]) -> String {
    if pairs.is_empty() {
        return path.to_owned();
    }
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    format!("{path}?{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_hidden() {
        for (text, shown) in [
            ("plain ü 漢 🦀", "plain ü 漢 🦀"),
            ("a\0b\u{1b}[31m\r\n\tc\u{7f}", "a␀b␛[31m␍\n\tc␡"),
            ("evil\u{202e}txt.exe", "evil⟨U+202E⟩txt.exe"),
            ("zero\u{200b}width\u{2066}x\u{feff}", "zero⟨U+200B⟩width⟨U+2066⟩x⟨U+FEFF⟩"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(line("one\ntwo three", 7), "one two…");
        assert_eq!(escaped("<a href='x'>&\""), "&lt;a href=&#39;x&#39;&gt;&amp;&quot;");
    }

    #[test]
    fn numbers_and_durations_are_for_people() {
        let numbers = [0, 999, 1_000, -1_234_567, i64::MIN].map(number);
        assert_eq!(numbers, ["0", "999", "1,000", "-1,234,567", "-9,223,372,036,854,775,808"]);
        let durations =
            [7, 1_500, 59_000, 61_000, 3_661_000, 90_000_000].map(Duration::from_millis).map(duration);
        assert_eq!(durations, ["7 ms", "1.5 s", "59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        let at = Timestamp::UNIX_EPOCH;
        assert_eq!(
            time(at).to_string(),
            "<time datetime=\"1970-01-01T00:00:00Z\" title=\"1970-01-01 00:00:00 UTC\">1970-01-01 00:00:00</time>"
        );
        assert_eq!(
            address("/desk/items", &[("queue", "A & B"), ("ref", "ü")]),
            "/desk/items?queue=A+%26+B&ref=%C3%BC"
        );
    }
}
