//! Where the next page of a list begins: behind an item, by what the list is sorted by.
//!
//! A page that is named by how many items to skip moves when items are added or removed before it, and costs what is
//! skipped. One that is named by the last item seen does neither. The position becomes a [`Condition`], so that every back
//! end that answers conditions has it: a store, and a client that writes OData.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use super::code::ErrorCode;
use super::item::QueueItem;
use super::key::ItemId;
use super::query::{Comparison, Condition, Field, Kind, Order, Value};
use super::refusal::Refusal;

/// The position behind one item of a list.
///
/// It has the values that the list is sorted by, and the id, which decides between equal items: it is valid although the item
/// has changed or was removed since. Its text is short and safe in the query of a URL.
///
/// ```
/// use performer::{ItemId, PageCursor};
///
/// let cursor = PageCursor::from(ItemId(42));
/// assert_eq!(cursor.to_string(), "42");
/// assert_eq!("42".parse::<PageCursor>().unwrap(), cursor);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor {
    keys: Vec<Value>,
    id: ItemId,
}

impl PageCursor {
    /// The position behind an item of a list that is sorted by `order`.
    pub fn behind(item: &QueueItem, order: &[Order]) -> Self {
        Self { keys: keys(order).iter().map(|order| order.field.of(item)).collect(), id: item.id }
    }

    /// The id of the item that it is behind.
    pub fn id(&self) -> ItemId {
        self.id
    }

    /// The condition that an item comes later in a list that is sorted by `order`, or by id alone in this direction.
    ///
    /// # Errors
    ///
    /// Code 1000 if the cursor is of a list with another order.
    pub fn condition(&self, order: &[Order], descending: bool) -> Result<Condition, Refusal> {
        let sorted = keys(order);
        let fits = |(order, key): (&Order, &Value)| is_value_of(order.field, key);
        if sorted.len() != self.keys.len() || !sorted.iter().zip(&self.keys).all(fits) {
            let message = "the cursor is of a list with another sort order";
            return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
        }
        let by_id = order.iter().find(|order| order.field == Field::Id);
        let descending = by_id.map_or(order.is_empty() && descending, |order| order.descending);
        let beyond = if descending { Comparison::Less } else { Comparison::Greater };
        let last = Condition::Compare(Field::Id, beyond, Value::Number(self.id.0));
        Ok(sorted.iter().zip(&self.keys).rev().fold(last, |inner, (order, key)| later(*order, key, inner)))
    }
}

/// What decides before the id does. No two items have one id: what an order names behind it decides nothing.
fn keys(order: &[Order]) -> &[Order] {
    let end = order.iter().position(|order| order.field == Field::Id).unwrap_or(order.len());
    &order[..end]
}

fn is_value_of(field: Field, key: &Value) -> bool {
    match key {
        Value::Null => true,
        Value::Number(_) => field.kind() == Kind::Number,
        Value::Text(_) => field.kind() == Kind::Text,
        Value::Time(_) => field.kind() == Kind::Time,
        Value::Key(_) => field.kind() == Kind::Key,
    }
}

/// The condition that an item is behind `key`, or equals it and is behind it by what comes next. Null is less than everything.
fn later(order: Order, key: &Value, inner: Condition) -> Condition {
    let compare = |comparison, value: &Value| Condition::Compare(order.field, comparison, value.clone());
    let equal = Condition::All(vec![compare(Comparison::Equal, key), inner]);
    match (key, order.descending) {
        (Value::Null, true) => equal,
        (Value::Null, false) => Condition::Any(vec![compare(Comparison::NotEqual, key), equal]),
        (_, false) => Condition::Any(vec![compare(Comparison::Greater, key), equal]),
        (_, true) => {
            let is_null = compare(Comparison::Equal, &Value::Null);
            Condition::Any(vec![compare(Comparison::Less, key), is_null, equal])
        }
    }
}

/// The position behind an item of a list in the order of the ids.
impl From<ItemId> for PageCursor {
    fn from(id: ItemId) -> Self {
        Self { keys: Vec::new(), id }
    }
}

/// The keys and the id, with commas between them. A key begins with the letter of its kind.
impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.keys {
            match key {
                Value::Null => f.write_str("z,")?,
                Value::Number(number) => write!(f, "n{number},")?,
                Value::Time(at) => write!(f, "t{at},")?,
                Value::Key(key) => write!(f, "k{key},")?,
                Value::Text(text) => {
                    f.write_char('s')?;
                    for byte in text.bytes() {
                        if byte.is_ascii_alphanumeric() {
                            f.write_char(char::from(byte))?;
                        } else {
                            write!(f, "~{byte:02x}")?;
                        }
                    }
                    f.write_char(',')?;
                }
            }
        }
        write!(f, "{}", self.id)
    }
}

impl FromStr for PageCursor {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let read = || {
            let mut words: Vec<&str> = text.split(',').collect();
            let id = words.pop()?.parse().ok()?;
            let keys: Option<Vec<Value>> = words.into_iter().map(key).collect();
            Some(Self { keys: keys?, id: ItemId(id) })
        };
        read().ok_or_else(|| {
            Refusal::new(ErrorCode::INVALID_REQUEST, "the text is not the cursor of a page".to_owned())
        })
    }
}

fn key(word: &str) -> Option<Value> {
    let kind = word.chars().next()?;
    let rest = &word[kind.len_utf8()..];
    Some(match kind {
        'z' if rest.is_empty() => Value::Null,
        'n' => Value::Number(rest.parse().ok()?),
        't' => Value::Time(rest.parse().ok()?),
        'k' => Value::Key(rest.parse().ok()?),
        's' => {
            let mut bytes = Vec::with_capacity(rest.len());
            let mut rest = rest.bytes();
            while let Some(byte) = rest.next() {
                if byte == b'~' {
                    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                    let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                    bytes.push(u8::try_from(high * 16 + low).ok()?);
                } else {
                    bytes.push(byte);
                }
            }
            Value::Text(String::from_utf8(bytes).ok()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_from_its_text() {
        let keys = vec![
            Value::Null,
            Value::Number(-7),
            Value::Text("Ü, ~%&\u{10ffff}".to_owned()),
            Value::Text(String::new()),
            Value::Time("2026-03-01T08:00:00.123456Z".parse().unwrap()),
            Value::Key("1d9a1d3a-5b55-4c55-9d52-0a6d0c0f5a11".parse().unwrap()),
        ];
        let cursor = PageCursor { keys, id: ItemId(9) };
        let text = cursor.to_string();
        assert_eq!(text.parse::<PageCursor>().unwrap(), cursor);
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b",~:-.".contains(&byte)), "{text}");
        for wrong in ["", "x", "q1,2", "n,2", "s~,2", "s~ff,2", "é1,2", "1,", "z1,2", "t1,2"] {
            assert!(wrong.parse::<PageCursor>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let by_due_date = [Order { field: Field::DueDate, descending: true }];
        assert!(PageCursor::from(ItemId(1)).condition(&by_due_date, false).is_err());
        let number = PageCursor { keys: vec![Value::Number(1)], id: ItemId(1) };
        assert!(number.condition(&by_due_date, false).is_err());
        assert!(number.condition(&[], false).is_err());
        let null = PageCursor { keys: vec![Value::Null], id: ItemId(1) };
        assert!(null.condition(&by_due_date, false).is_ok());
    }

    #[test]
    fn nothing_decides_behind_the_id() {
        let descending = Order { field: Field::Id, descending: true };
        let order = [descending, Order { field: Field::DueDate, descending: false }];
        let condition = PageCursor::from(ItemId(5)).condition(&order, false).unwrap();
        assert_eq!(condition, Condition::Compare(Field::Id, Comparison::Less, Value::Number(5)));
    }
}
