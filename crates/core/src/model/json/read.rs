//! Reads JSON text into a user's type or a `Value`, without changing a digit silently.
//!
//! A number with more digits than 64 bits hold is passed on to types that can hold it: `i128`, `RawValue`, or a float,
//! which is the nearest value by its nature. Types that accept anything, as `Value`, untagged and flattened types do,
//! cause an error.

use std::borrow::Cow;
use std::sync::OnceLock;

use serde::de::value::MapAccessDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess, Visitor,
};
use serde_json::value::RawValue;
use serde_json::{Error, Value};

use super::number::{self, Number};
use super::{JsonKind, Members};

/// Reads an object.
///
/// # Errors
///
/// If it does not fit the type, or a number has digits that the type would lose.
pub(crate) fn parse<T: DeserializeOwned>(json: &str) -> Result<T, Error> {
    if is_read_exactly(json) { serde_json::from_str(json) } else { T::deserialize(Object(json)) }
}

/// An object as a `Value`. A number that it cannot hold with all digits becomes a text of its digits; what is no object
/// becomes null.
pub(crate) fn to_value(json: &str) -> Value {
    if is_read_exactly(json) {
        return serde_json::from_str(json).unwrap_or(Value::Null);
    }
    let Ok(members) = Members::read(json) else { return Value::Null };
    let value = |raw: &RawValue| match number::exact(raw.get()) {
        Some(number) if JsonKind::of(raw.get()) == JsonKind::Number => value_of(number),
        _ if number::are_exact(raw.get()) => serde_json::from_str(raw.get()).unwrap_or(Value::Null),
        _ => Value::from(raw.get()),
    };
    Value::Object(members.iter().map(|(name, raw)| (name.to_owned(), value(raw))).collect())
}

/// An object as a `Value` with each number rounded to 64 bits, for checks only.
///
/// # Errors
///
/// The name of a member with a number that is too large for that.
#[cfg(feature = "json-schema")]
pub(crate) fn rounded(json: &str) -> Result<Value, String> {
    if is_read_exactly(json) {
        return Ok(serde_json::from_str(json).unwrap_or(Value::Null));
    }
    let Ok(members) = Members::read(json) else { return Ok(Value::Null) };
    let mut object = serde_json::Map::new();
    for (name, raw) in members.iter() {
        let value = if JsonKind::of(raw.get()) == JsonKind::Number {
            number::nearest(raw.get()).map(value_of)
        } else {
            serde_json::from_str(raw.get()).ok()
        };
        object.insert(name.to_owned(), value.ok_or_else(|| name.to_owned())?);
    }
    Ok(Value::Object(object))
}

fn value_of(number: Number) -> Value {
    match number {
        Number::Signed(number) => number.into(),
        Number::Unsigned(number) => number.into(),
        Number::Float(number) => number.into(),
    }
}

/// Whether `serde_json` reads each number exactly: because all are short, or because the program was built with its
/// feature `arbitrary_precision`, with which its own types keep all digits.
fn is_read_exactly(json: &str) -> bool {
    static KEEPS_DIGITS: OnceLock<bool> = OnceLock::new();
    number::are_plain(json)
        || *KEEPS_DIGITS.get_or_init(|| serde_json::from_str::<serde_json::Number>("1e400").is_ok())
}

/// The name with which `serde_json` asks for raw JSON.
const RAW: &str = "$serde_json::private::RawValue";

/// A JSON object whose numbers are checked.
struct Object<'de>(&'de str);

impl<'de> Object<'de> {
    fn access(&self) -> Result<Access<'de>, Error> {
        Ok(Access { rest: Members::read(self.0)?.list.into_iter(), value: None })
    }
}

impl<'de> Deserializer<'de> for Object<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self.access()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW {
            return serde_json::Deserializer::from_str(self.0).deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        MapAccessDeserializer::new(self.access()?).deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

struct Access<'de> {
    rest: std::vec::IntoIter<(Cow<'de, str>, &'de RawValue)>,
    value: Option<(Cow<'de, str>, &'de RawValue)>,
}

impl<'de> MapAccess<'de> for Access<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.value = self.rest.next();
        let Some((name, _)) = &self.value else { return Ok(None) };
        seed.deserialize(name.clone().into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.value.take().ok_or_else(|| Error::custom("a value without a name"))?;
        seed.deserialize(Member { name: &name, json: value.get() })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The value of a member.
struct Member<'n, 'de> {
    name: &'n str,
    json: &'de str,
}

impl<'de> Member<'_, 'de> {
    fn named(&self, error: &impl std::fmt::Display) -> Error {
        Error::custom(format!("{:?}: {error}", self.name))
    }

    fn too_many_digits(&self) -> Error {
        self.named(
            &"a number with more digits than this type holds; a type that keeps them is i128, u128, or RawValue of serde_json",
        )
    }
}

macro_rules! read_by_serde_json {
    ($($method:ident $(($argument:ident: $type:ty))*,)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, Error> {
            let mut reader = serde_json::Deserializer::from_str(self.json);
            (&mut reader).$method($($argument,)* visitor).map_err(|error| self.named(&error))
        })*
    };
}

impl<'de> Deserializer<'de> for Member<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if JsonKind::of(self.json) == JsonKind::Number {
            let read = match number::exact(self.json) {
                Some(Number::Signed(number)) => visitor.visit_i64(number),
                Some(Number::Unsigned(number)) => visitor.visit_u64(number),
                Some(Number::Float(number)) => visitor.visit_f64(number),
                None => return Err(self.too_many_digits()),
            };
            return read.map_err(|error: Error| self.named(&error));
        }
        if !number::are_exact(self.json) {
            return Err(self.too_many_digits());
        }
        let mut reader = serde_json::Deserializer::from_str(self.json);
        reader.deserialize_any(visitor).map_err(|error| self.named(&error))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let read = match number::float(self.json) {
            Some(number) if JsonKind::of(self.json) == JsonKind::Number => visitor.visit_f64(number),
            _ => serde_json::Deserializer::from_str(self.json).deserialize_f64(visitor),
        };
        read.map_err(|error| self.named(&error))
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if JsonKind::of(self.json) == JsonKind::Null {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == RAW {
            return serde_json::Deserializer::from_str(self.json).deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    read_by_serde_json! {
        deserialize_bool, deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64, deserialize_i128,
        deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64, deserialize_u128, deserialize_char,
        deserialize_str, deserialize_string, deserialize_bytes, deserialize_byte_buf, deserialize_unit,
        deserialize_unit_struct(name: &'static str), deserialize_seq, deserialize_tuple(length: usize),
        deserialize_tuple_struct(name: &'static str)(length: usize), deserialize_map,
        deserialize_struct(name: &'static str)(fields: &'static [&'static str]),
        deserialize_enum(name: &'static str)(variants: &'static [&'static str]), deserialize_identifier,
        deserialize_ignored_any,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::{Map, json};

    use super::*;

    const LONG: &str = r#"{"amount":1234567890123456.78,"iban":100000000000000000000000000001,"name":"ACME","share":0.30000000000000004}"#;

    #[test]
    fn a_type_that_is_wide_enough_gets_all_digits() {
        #[derive(Deserialize)]
        struct Wide {
            iban: u128,
            amount: Box<RawValue>,
            share: f64,
            name: Option<String>,
            missing: Option<u8>,
        }
        let wide: Wide = parse(LONG).unwrap();
        assert_eq!(
            (wide.iban, wide.amount.get()),
            (100_000_000_000_000_000_000_000_000_001, "1234567890123456.78")
        );
        assert_eq!((wide.share, wide.name.as_deref(), wide.missing), (0.1 + 0.2, Some("ACME"), None));
        let raw: Box<RawValue> = parse(LONG).unwrap();
        assert_eq!(raw.get(), LONG);
        let members: BTreeMap<String, Box<RawValue>> = parse(LONG).unwrap();
        assert_eq!(members["iban"].get(), "100000000000000000000000000001");
        #[derive(Deserialize)]
        struct Float {
            amount: f64,
        }
        assert_eq!(
            parse::<Float>(LONG).unwrap().amount,
            1_234_567_890_123_456.8,
            "a float is the nearest one"
        );
    }

    #[test]
    fn a_type_that_would_lose_digits_is_refused_with_the_member() {
        #[derive(Debug, Deserialize)]
        #[serde(untagged)]
        enum Either {
            #[expect(dead_code, reason = "it is only read")]
            Text(String),
            #[expect(dead_code, reason = "it is only read")]
            Number(f64),
        }
        #[derive(Debug, Deserialize)]
        struct Rest {
            #[serde(flatten)]
            _rest: Map<String, Value>,
        }
        #[derive(Debug, Deserialize)]
        struct Narrow {
            #[expect(dead_code, reason = "it is only read")]
            iban: u64,
        }
        let refused = [
            parse::<Value>(LONG).unwrap_err(),
            parse::<Option<BTreeMap<String, Value>>>(LONG).unwrap_err(),
            parse::<BTreeMap<String, Either>>(LONG).unwrap_err(),
            parse::<Rest>(LONG).unwrap_err(),
        ];
        for error in refused {
            assert!(error.to_string().starts_with("\"amount\": a number with more digits"), "{error}");
        }
        assert!(parse::<Narrow>(LONG).unwrap_err().to_string().starts_with("\"iban\": "));
        let huge = parse::<BTreeMap<String, f64>>(r#"{"a":1e400}"#).unwrap_err();
        assert!(huge.to_string().starts_with("\"a\": number out of range"), "{huge}");
    }

    #[test]
    fn numbers_that_fit_are_read_by_any_type() {
        let json = r#"{"a":1.50,"b":1E5,"c":-0,"d":18446744073709551615,"e":0.30000000000000004,"f":"1e400","g":[1e5]}"#;
        let value: Value = parse(json).unwrap();
        assert_eq!(
            value,
            json!({"a": 1.5, "b": 1e5, "c": -0.0, "d": u64::MAX, "e": 0.1 + 0.2, "f": "1e400", "g": [1e5]})
        );
        assert_eq!(to_value(json), value);
        #[derive(Debug, PartialEq, Deserialize)]
        enum Told {
            #[serde(rename = "a")]
            A(Value),
        }
        assert_eq!(parse::<Told>(r#"{"a":0.30000000000000004}"#).unwrap(), Told::A(json!(0.1 + 0.2)));
        assert!(parse::<Told>(r#"{"a":1e400}"#).is_err());
    }

    #[test]
    fn a_value_has_a_text_where_digits_would_be_lost() {
        assert_eq!(
            to_value(LONG),
            json!({"amount": "1234567890123456.78", "iban": "100000000000000000000000000001", "name": "ACME",
                "share": 0.1 + 0.2})
        );
        assert_eq!(to_value(r#"{"a":{"b":1e400}}"#), json!({"a": r#"{"b":1e400}"#}));
        assert_eq!((to_value("[1e400]"), to_value("no JSON")), (Value::Null, Value::Null));
    }

    #[cfg(feature = "json-schema")]
    #[test]
    fn a_rounded_value_is_as_large_as_64_bits_allow() {
        let value = rounded(LONG).unwrap();
        assert_eq!((&value["iban"], &value["amount"]), (&json!(1e29), &json!(1_234_567_890_123_456.8)));
        assert_eq!(rounded(r#"{"x":1,"a":1e400}"#), Err("a".to_owned()));
    }
}
