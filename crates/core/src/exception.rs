//! The exceptions with which a transaction fails.
//!
//! A failure of an *application* or the environment needs no code: `?` on any [`std::error::Error`] makes an
//! [`ApplicationException`]. A failure of the *data* is always explicit: [`BusinessException::new`] or
//! [`.or_business()`](OrBusiness). [`Exception`] and [`BusinessException`] deliberately do not implement
//! [`std::error::Error`], so a function in between cannot convert a business exception into `anyhow::Error` or
//! `Box<dyn Error>`: that does not compile.
//!
//! ```
//! use performer::{BusinessException, Exception, OrBusiness};
//!
//! fn check(amount: &str) -> Result<f64, Exception> {
//!     let amount: f64 = amount.parse().or_business("the amount is not a number")?;
//!     if amount < 0.0 {
//!         return Err(BusinessException::new("the amount is negative").into());
//!     }
//!     std::fs::metadata("/")?; // any other error becomes an ApplicationException
//!     Ok(amount)
//! }
//!
//! assert!(check("12.5").is_ok());
//! assert!(matches!(check("12,5"), Err(Exception::Business(_))));
//! ```

use std::error::Error;
use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::exception::EXCEPTION_TEXT_LIMIT;
use crate::model::stored_time;
use crate::model::task::NewTask;

/// Why a transaction did not succeed.
///
/// It deliberately does not implement [`std::error::Error`]: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exception {
    /// The data is wrong; the item is never retried.
    Business(BusinessException),
    /// An application or the environment failed; the policy of the queue decides about a retry.
    Application(ApplicationException),
    /// It is too early: the item is deferred to a later time, and no retry is used.
    Postpone(Postpone),
    /// A person is asked: the item is postponed until the task has an end, and no retry is used.
    Ask(Box<NewTask>),
}

impl Exception {
    /// Defers the item to `defer_date`. This is not a failure and uses no retry.
    ///
    /// If the time is in the past when it reaches the Orchestrator, the transaction fails with an ApplicationException instead.
    pub fn postpone_until(defer_date: Timestamp) -> Self {
        Self::Postpone(Postpone { when: When::At(defer_date), due_date: None })
    }

    /// Defers the item by a delay. This is not a failure and uses no retry.
    pub fn postpone_for(delay: Duration) -> Self {
        Self::Postpone(Postpone { when: When::After(delay), due_date: None })
    }

    /// Asks a person by a task. The item is postponed, in the commit that makes the task, until somebody completes or deletes it, or until its
    /// [time for an answer](NewTask::answer_within) is over. This is not a failure and uses no retry. The answer is there in the next
    /// attempt, and in all later ones: `TransactionItem::answer`. An item has one open task: if it asks again while nobody
    /// has answered (somebody changed its DeferDate), it goes on waiting for the task that there is.
    ///
    /// ```
    /// use performer::prelude::*;
    /// use performer::model::NewTask;
    ///
    /// # struct PostInvoices;
    /// # #[async_trait]
    /// # impl Transaction for PostInvoices {
    /// # type Content = serde_json::Value;
    /// # type Output = ();
    /// async fn process(&mut self, invoice: serde_json::Value, item: &TransactionItem) -> Result<(), Exception> {
    ///     let Some(answer) = item.answer().await? else {
    ///         let task = NewTask::new("Approve the invoice").data(invoice).actions(["approve", "reject"]);
    ///         return Err(Exception::ask(task));
    ///     };
    ///     if !answer.is("approve") {
    ///         return Err(BusinessException::new("not approved").into());
    ///     }
    ///     // … post the invoice …
    ///     Ok(())
    /// }
    /// # }
    /// ```
    ///
    /// If the task cannot be made (its title is too long, its catalog does not exist, the back end
    /// [has no tasks](crate::orchestrator::Orchestrator::supports_asking)), the transaction fails with an ApplicationException.
    pub fn ask(task: NewTask) -> Self {
        Self::Ask(Box::new(task))
    }

    /// Sets a new due date for a postponed item. Has no effect on other exceptions.
    #[must_use]
    pub fn due_date(mut self, due_date: Timestamp) -> Self {
        if let Self::Postpone(postpone) = &mut self {
            postpone.due_date = Some(due_date);
        }
        self
    }

    /// The reason that is shown with the item.
    pub fn reason(&self) -> &str {
        match self {
            Self::Business(exception) => &exception.reason,
            Self::Application(exception) => &exception.reason,
            Self::Postpone(_) => "postponed",
            Self::Ask(_) => "a person is asked",
        }
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

/// The time to which an item is deferred. Made by [`Exception::postpone_until`] and [`Exception::postpone_for`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postpone {
    when: When,
    due_date: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    At(Timestamp),
    After(Duration),
}

impl Postpone {
    /// The time from which the item is handed out again, if it is reported at `now`.
    pub fn defer_date(&self, now: Timestamp) -> Timestamp {
        match self.when {
            When::At(at) => at,
            When::After(delay) => stored_time::stored(stored_time::after(now, delay)),
        }
    }

    /// The new due date, if one was set.
    pub fn due_date(&self) -> Option<Timestamp> {
        self.due_date
    }

    /// Whether it is a delay, which may be over when it is reported.
    pub fn is_delay(&self) -> bool {
        matches!(self.when, When::After(delay) if !delay.is_zero())
    }
}

/// The data is wrong: the item fails and is never retried.
///
/// It deliberately does not implement [`std::error::Error`]: see the [module](self).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessException {
    reason: String,
    details: Option<String>,
}

impl BusinessException {
    /// Creates an exception with a reason, a sentence for the reviewers of the item. At most 102,400 code units are kept.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), details: None }
    }

    /// Sets details. At most 102,400 code units are kept.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// The reason, as it is shown with the item.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Its reason and its details.
    pub fn into_parts(self) -> (String, Option<String>) {
        (self.reason, self.details)
    }
}

impl fmt::Display for BusinessException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<BusinessException> for Exception {
    fn from(exception: BusinessException) -> Self {
        Self::Business(exception)
    }
}

/// An application or the environment failed: a system is down, or an answer makes no sense. The policy of the queue decides
/// about a retry; the robot closes and reopens its applications before its next item.
///
/// `?` makes one from any error. Create one explicitly to add more information:
///
/// ```
/// use std::time::Duration;
/// use performer::ApplicationException;
///
/// let exception = ApplicationException::new("the ERP is in its nightly backup")
///     .retry_after(Duration::from_secs(600));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationException {
    reason: String,
    details: Option<String>,
    retry_after: Option<Duration>,
    image: Option<PathBuf>,
}

impl ApplicationException {
    /// Creates an exception with a reason, a sentence for the reviewers of the item. At most 102,400 code units are kept.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), details: None, retry_after: None, image: None }
    }

    /// Creates an exception from an error: its message is the reason, its chain of sources the details, one per line.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self { details: source_chain(error), ..Self::new(bounded_display(error)) }
    }

    /// Sets details. At most 102,400 code units are kept.
    #[must_use]
    pub fn details(mut self, details: impl Into<String>) -> Self {
        self.details = Some(details.into());
        self
    }

    /// Defers the retry, if there is one, by this delay.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }

    /// The reason, as it is shown with the item.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Sets the path of an image on this machine, such as a screenshot. It is not uploaded.
    #[must_use]
    pub fn image(mut self, path: impl Into<PathBuf>) -> Self {
        self.image = Some(path.into());
        self
    }

    /// Its reason, its details, the delay before the retry, and the path of an image.
    pub fn into_parts(self) -> (String, Option<String>, Option<Duration>, Option<PathBuf>) {
        (self.reason, self.details, self.retry_after, self.image)
    }
}

impl fmt::Display for ApplicationException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<ApplicationException> for Exception {
    fn from(exception: ApplicationException) -> Self {
        Self::Application(exception)
    }
}

/// Lets `?` convert every error into an ApplicationException. For `anyhow::Error` and boxed errors see [`OrApplication`].
impl<E: Error + 'static> From<E> for Exception {
    fn from(error: E) -> Self {
        Self::Application(ApplicationException::from_error(&error))
    }
}

/// Converts errors that do not implement [`std::error::Error`] themselves, such as `anyhow::Error` and
/// `Box<dyn Error + Send + Sync>`, to which `?` alone does not apply.
///
/// ```
/// use performer::{Exception, OrApplication};
///
/// fn log_in() -> anyhow::Result<()> {
///     anyhow::bail!("the terminal does not answer")
/// }
///
/// fn work() -> Result<(), Exception> {
///     log_in().or_application()?;
///     Ok(())
/// }
///
/// assert_eq!(work().unwrap_err().reason(), "the terminal does not answer");
/// ```
pub trait OrApplication<T> {
    /// Converts any error, or a text, into an [`ApplicationException`] with its chain of sources as details.
    ///
    /// # Errors
    ///
    /// The application exception, if there is no value.
    fn or_application(self) -> Result<T, ApplicationException>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> OrApplication<T> for Result<T, E> {
    fn or_application(self) -> Result<T, ApplicationException> {
        self.map_err(|error| ApplicationException::from_error(&*error.into()))
    }
}

/// Converts errors that are caused by the data.
pub trait OrBusiness<T> {
    /// Converts `None`, or any error, into a [`BusinessException`] with this reason. The error becomes its details.
    ///
    /// # Errors
    ///
    /// The business exception, if there is no value.
    fn or_business(self, reason: impl Into<String>) -> Result<T, BusinessException>;
}

impl<T> OrBusiness<T> for Option<T> {
    fn or_business(self, reason: impl Into<String>) -> Result<T, BusinessException> {
        self.ok_or_else(|| BusinessException::new(reason))
    }
}

impl<T, E: Error + 'static> OrBusiness<T> for Result<T, E> {
    fn or_business(self, reason: impl Into<String>) -> Result<T, BusinessException> {
        self.map_err(|error| {
            let mut details = bounded_display(&error);
            if let Some(chain) = source_chain(&error) {
                details.push('\n');
                details.push_str(&chain);
            }
            BusinessException::new(reason).details(details)
        })
    }
}

/// The chain of sources of an error, one per line, truncated to a limit.
fn source_chain(error: &(dyn Error + 'static)) -> Option<String> {
    let mut text = Bounded::new();
    let mut next = error.source();
    while let Some(source) = next {
        let separator = if text.kept.is_empty() { "" } else { "\n" };
        if write!(text, "{separator}{source}").is_err() {
            break;
        }
        next = source.source();
    }
    (!text.kept.is_empty()).then_some(text.kept)
}

fn bounded_display(error: &dyn fmt::Display) -> String {
    let mut text = Bounded::new();
    // If the display fails or prints too much, the text up to there is kept.
    let _ = write!(text, "{error}");
    text.kept
}

/// The message of a panic, truncated to a limit.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.map_or_else(|| "a panic without a text".to_owned(), |text| bounded_display(&text))
}

/// A writer that keeps slightly more than the limit, so that the stored record can show that the text was truncated.
struct Bounded {
    kept: String,
}

impl Bounded {
    const ROOM: usize = 4 * EXCEPTION_TEXT_LIMIT;

    fn new() -> Self {
        Self { kept: String::new() }
    }
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Self::ROOM.saturating_sub(self.kept.len());
        if text.len() <= room {
            self.kept.push_str(text);
            return Ok(());
        }
        let end = (0..=room).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        self.kept.push_str(&text[..end]);
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("level {level}")]
    struct Nested {
        level: usize,
        #[source]
        source: Option<Box<Nested>>,
    }

    fn nested(depth: usize) -> Nested {
        (1..depth).rev().fold(Nested { level: depth, source: None }, |inner, level| Nested {
            level,
            source: Some(Box::new(inner)),
        })
    }

    fn application(exception: Exception) -> ApplicationException {
        match exception {
            Exception::Application(exception) => exception,
            other => panic!("an ApplicationException was expected, not {other:?}"),
        }
    }

    #[test]
    fn any_error_becomes_an_application_exception_with_its_chain() {
        fn fails() -> Result<(), Exception> {
            Err(nested(3))?
        }
        let exception = application(fails().unwrap_err());
        assert_eq!(exception.reason, "level 1");
        assert_eq!(exception.details.as_deref(), Some("level 2\nlevel 3"));
    }

    #[test]
    fn a_chain_of_ten_thousand_and_a_display_of_megabytes_are_bounded() {
        let mut deep = nested(10_000);
        let exception = ApplicationException::from_error(&deep);
        assert!(exception.details.unwrap().len() <= Bounded::ROOM);
        while let Some(inner) = deep.source.take() {
            deep = *inner; // dropped one by one: a drop of the whole chain would recurse
        }
        let exception = ApplicationException::from_error(&std::io::Error::other("ü".repeat(10_000_000)));
        assert_eq!(exception.reason.len(), Bounded::ROOM);
    }

    #[test]
    fn or_business_keeps_the_error_as_details() {
        let failed: Result<(), Nested> = Err(nested(2));
        let exception = failed.or_business("no such customer").unwrap_err();
        assert_eq!(
            exception.into_parts(),
            ("no such customer".to_owned(), Some("level 1\nlevel 2".to_owned()))
        );
        assert_eq!(None::<u8>.or_business("absent").unwrap_err().into_parts(), ("absent".to_owned(), None));
        assert_eq!(Some(1).or_business("absent"), Ok(1));
    }

    #[test]
    fn postpone_leaves_from_any_depth() {
        fn deep() -> Result<(), Exception> {
            Err(Exception::postpone_for(Duration::from_secs(60)).due_date(Timestamp::MAX))?
        }
        let Exception::Postpone(postpone) = deep().unwrap_err() else { panic!("postponed") };
        assert_eq!(postpone.defer_date(Timestamp::UNIX_EPOCH).as_second(), 60);
        assert_eq!(postpone.due_date(), Some(Timestamp::MAX));
        let far = Exception::postpone_for(Duration::MAX);
        let Exception::Postpone(postpone) = far else { panic!("postponed") };
        assert_eq!(postpone.defer_date(Timestamp::UNIX_EPOCH), stored_time::StoredTime::LAST.timestamp());
    }
}
