//! A row of a table as a value of a type, which says what each cell means.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Error, Value};

use super::columns::Columns;
use super::numbers;
use super::record::Record;

/// A row, whose columns are the fields.
#[derive(Clone, Copy)]
pub(crate) struct RecordDeserializer<'a> {
    pub(crate) record: &'a Record,
    pub(crate) columns: &'a Columns,
}

impl<'de> Deserializer<'de> for RecordDeserializer<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Cells { row: self, next: 0 })
    }

    /// A tuple has the columns in their order.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Cells { row: self, next: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct map struct enum
        identifier ignored_any
    }
}

/// The cells of a row, one after the other.
struct Cells<'a> {
    row: RecordDeserializer<'a>,
    next: usize,
}

impl<'a> Cells<'a> {
    /// The place of the next column that is not one of a file of refused rows.
    fn place(&mut self) -> Option<usize> {
        let columns = self.row.columns;
        let at = (self.next..columns.len()).find(|at| !columns.is_own(*at))?;
        self.next = at + 1;
        Some(at)
    }

    fn cell(&self, at: usize) -> CellDeserializer<'a> {
        CellDeserializer { row: self.row, at }
    }

    /// An error in a cell, with the name of its column.
    fn named(&self, at: usize, error: &Error) -> Error {
        let (why, name) = (error.to_string(), self.row.columns.name(at));
        if why.starts_with("column ") || why.starts_with("cell ") {
            return Error::custom(why);
        }
        Error::custom(format_args!("column {name:?}: {why}"))
    }
}

impl<'de> MapAccess<'de> for Cells<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(at) = self.place() else { return Ok(None) };
        let name: StrDeserializer<'_, Error> = self.row.columns.name(at).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let at = self.next - 1;
        seed.deserialize(self.cell(at)).map_err(|error| self.named(at, &error))
    }
}

impl<'de> SeqAccess<'de> for Cells<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(at) = self.place() else { return Ok(None) };
        seed.deserialize(self.cell(at)).map(Some).map_err(|error| self.named(at, &error))
    }
}

/// A cell.
#[derive(Clone, Copy)]
struct CellDeserializer<'a> {
    row: RecordDeserializer<'a>,
    at: usize,
}

impl<'a> CellDeserializer<'a> {
    /// The text of the cell.
    fn text(self) -> Result<&'a str, Error> {
        match self.row.record.refusal(self.at) {
            Some(why) => Err(Error::custom(why)),
            None => Ok(self.row.record.cells.get(self.at).map_or("", String::as_str)),
        }
    }

    fn number(self) -> Result<Value, Error> {
        let text = self.text()?.trim();
        if text.is_empty() {
            return Err(Error::custom("the cell is empty"));
        }
        let number = self.row.columns.number_text(self.at, self.row.record);
        let number = numbers::parse_shown(&number, text).map_err(Error::custom)?;
        // 20.0 is an integer, too.
        Ok(match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                Value::from(float as i64)
            }
            _ => Value::Number(number),
        })
    }
}

/// A number is read as one, whatever the other cells of its column look like.
macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.number()?.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for CellDeserializer<'_> {
    type Error = Error;

    /// As an import reads it: by the type of its column.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = self.row.columns.value(self.at, self.row.record).map_err(Error::custom)?;
        value.unwrap_or(Value::Null).deserialize_any(visitor)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text()?;
        match text.trim() {
            text if text.eq_ignore_ascii_case("true") => visitor.visit_bool(true),
            text if text.eq_ignore_ascii_case("false") => visitor.visit_bool(false),
            text => Err(Error::custom(format_args!("{text:?} is neither true nor false"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.text()?.trim().is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Variant(self.text()?.trim()))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// The name of a variant without fields.
struct Variant<'a>(&'a str);

impl<'de> EnumAccess<'de> for Variant<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let name: StrDeserializer<'_, Error> = self.0.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Error> {
        Err(has_fields(self.0))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(has_fields(self.0))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(has_fields(self.0))
    }
}

fn has_fields(variant: &str) -> Error {
    Error::custom(format_args!("{variant:?} has fields, which a cell does not have"))
}
