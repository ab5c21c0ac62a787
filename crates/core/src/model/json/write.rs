//! Serializes values of the user's types as JSON text. `serde_json` writes NaN and infinity as null without an error;
//! here each one is reported with the member it is in.

use std::fmt::{self, Display};
use std::ops::Range;

use serde::ser;
use serde::{Serialize, Serializer};

/// A value that was written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WrittenJson {
    pub(crate) json: String,
    /// The floats that JSON has no number for; null was written in their places.
    pub(crate) unwritable: Vec<Unwritable>,
}

/// A float that JSON has no number for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unwritable {
    /// The member of the outermost object that it is in.
    pub(crate) member: Option<String>,
    what: &'static str,
}

impl Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(member) => {
                write!(f, "the value of {member:?} is {}, and JSON has no number for that", self.what)
            }
            None => write!(f, "the value is {}, and JSON has no number for that", self.what),
        }
    }
}

/// Writes a value as JSON text.
///
/// # Errors
///
/// Why the value cannot be written.
pub(crate) fn written(value: &impl Serialize) -> Result<WrittenJson, String> {
    let mut writer = Writer { json: Vec::with_capacity(256), depth: 0, member: 0..0, unwritable: Vec::new() };
    value.serialize(&mut writer).map_err(|Error(reason)| reason)?;
    let json = String::from_utf8(writer.json).map_err(|error| error.to_string())?;
    Ok(WrittenJson { json, unwritable: writer.unwritable })
}

struct Writer {
    json: Vec<u8>,
    depth: usize,
    /// The range of the name of the last member of the outermost object, with its quotes.
    member: Range<usize>,
    unwritable: Vec<Unwritable>,
}

#[derive(Debug)]
struct Error(String);

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

impl ser::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The names by which `serde_json` marks its own text: a number with all digits, and raw JSON.
const VERBATIM: [&str; 2] = ["$serde_json::private::RawValue", "$serde_json::private::Number"];

impl Writer {
    /// A number, a text, true or false, as `serde_json` writes it.
    fn scalar(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        serde_json::to_writer(&mut self.json, value).map_err(|error| Error(error.to_string()))
    }

    fn note(&mut self, what: &'static str) {
        let name = if self.depth == 0 { None } else { self.json.get(self.member.clone()) };
        let member = name.and_then(|name| serde_json::from_slice(name).ok());
        self.unwritable.push(Unwritable { member, what });
        self.json.extend(b"null");
    }

    fn open(&mut self, open: &[u8], close: &'static [u8]) -> Compound<'_> {
        self.json.extend(open);
        self.depth += close.len();
        Compound { writer: self, close, is_empty: true, is_verbatim: false }
    }

    fn open_variant(
        &mut self,
        variant: &str,
        open: &[u8],
        close: &'static [u8],
    ) -> Result<Compound<'_>, Error> {
        let mut outer = self.open(b"{", b"");
        outer.writer.depth += 1;
        outer.name(variant)?;
        let writer = outer.writer;
        writer.depth -= 1;
        Ok(writer.open(open, close))
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            self.scalar(&value)
        })*
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'a>;
    type SerializeTuple = Compound<'a>;
    type SerializeTupleStruct = Compound<'a>;
    type SerializeTupleVariant = Compound<'a>;
    type SerializeMap = Compound<'a>;
    type SerializeStruct = Compound<'a>;
    type SerializeStructVariant = Compound<'a>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str,
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        if value.is_finite() { self.scalar(&value) } else { self.serialize_f64(value.into()) }
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        if value.is_finite() {
            return self.scalar(&value);
        }
        self.note(if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "infinity"
        } else {
            "-infinity"
        });
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.json.extend(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
        self.scalar(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let mut compound = self.open(b"{", b"}");
        compound.member(variant, value)?;
        compound.close();
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Compound<'a>, Error> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Compound<'a>, Error> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Compound<'a>, Error> {
        Ok(self.open(b"[", b"]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Error> {
        self.open_variant(variant, b"[", b"]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Compound<'a>, Error> {
        Ok(self.open(b"{", b"}"))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Compound<'a>, Error> {
        if VERBATIM.contains(&name) {
            return Ok(Compound { writer: self, close: b"", is_empty: true, is_verbatim: true });
        }
        Ok(self.open(b"{", b"}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Compound<'a>, Error> {
        self.open_variant(variant, b"{", b"}}")
    }
}

/// An array or an object that is being written.
struct Compound<'a> {
    writer: &'a mut Writer,
    close: &'static [u8],
    is_empty: bool,
    is_verbatim: bool,
}

impl Compound<'_> {
    fn comma(&mut self) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.writer.json.push(b',');
        }
    }

    fn element(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    /// The name of a member; numbers and booleans get quotes, as in `serde_json`.
    fn name(&mut self, name: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.comma();
        let writer = &mut *self.writer;
        let start = writer.json.len();
        name.serialize(&mut *writer)?;
        match writer.json.get(start) {
            Some(b'"') => {}
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => {
                writer.json.insert(start, b'"');
                writer.json.push(b'"');
            }
            _ => return Err(Error("the name of a member must be a text".to_owned())),
        }
        if writer.depth == 1 {
            writer.member = start..writer.json.len();
        }
        writer.json.push(b':');
        Ok(())
    }

    fn member(
        &mut self,
        name: &(impl Serialize + ?Sized),
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Error> {
        self.name(name)?;
        value.serialize(&mut *self.writer)
    }

    /// JSON that is copied. It comes as a text.
    fn verbatim(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let start = self.writer.json.len();
        value.serialize(&mut *self.writer)?;
        let text: Result<String, _> = serde_json::from_slice(&self.writer.json[start..]);
        let text = text.map_err(|error| Error(error.to_string()))?;
        self.writer.json.truncate(start);
        self.writer.json.extend(text.as_bytes());
        Ok(())
    }

    fn close(self) {
        self.writer.depth -= self.close.len();
        self.writer.json.extend(self.close);
    }
}

macro_rules! elements {
    ($($trait:ident: $method:ident,)*) => {
        $(impl ser::$trait for Compound<'_> {
            type Ok = ();
            type Error = Error;
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.element(value)
            }
            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

impl ser::SerializeMap for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.name(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }
    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeStruct for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        if self.is_verbatim { self.verbatim(value) } else { self.member(name, value) }
    }
    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

impl ser::SerializeStructVariant for Compound<'_> {
    type Ok = ();
    type Error = Error;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.member(name, value)
    }
    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        New(u8),
        Tuple(u8, f64),
        Struct { a: Option<u8>, b: char },
    }

    #[derive(Serialize)]
    struct New(u128);

    /// We write what `serde_json` writes.
    #[test]
    fn values_are_written_as_serde_json_writes_them() {
        fn check(value: &impl Serialize) {
            let ours = written(value).unwrap();
            assert_eq!(ours.json, serde_json::to_string(value).unwrap());
            assert_eq!(ours.unwritable, []);
        }
        check(&json!({"a": [1, -2, 1.5, true, null, "x\"\n\u{1}é😀"], "b": {}, "c": [], "d": {"e": [[]]}}));
        check(&[Shape::Unit, Shape::New(1), Shape::Tuple(2, 0.1), Shape::Struct { a: None, b: 'ä' }]);
        check(&(New(u128::MAX), i128::MIN, 0.1_f32, 1e300, -0.0, (), Some("x"), u64::MAX, i8::MIN));
        check(&BTreeMap::from([(7, "a"), (-1, "b")]));
        check(&BTreeMap::from([(true, 1)]));
        check(
            &RawValue::from_string(r#"{"iban": 100000000000000000000000000001, "a": 1.50}"#.to_owned())
                .unwrap(),
        );
        check(&json!("a text"));
        assert!(written(&BTreeMap::from([((1, 2), 3)])).is_err());
        assert!(written(&BTreeMap::from([((), 3)])).is_err());
    }

    #[test]
    fn what_json_has_no_number_for_is_noted_with_its_member() {
        #[derive(Serialize)]
        struct Row {
            amount: f64,
            rates: Vec<f32>,
            shape: Shape,
            good: f64,
        }
        let row = Row {
            amount: f64::NAN,
            rates: vec![1.0, f32::INFINITY],
            shape: Shape::Tuple(1, f64::NEG_INFINITY),
            good: 1.5,
        };
        let ours = written(&row).unwrap();
        assert_eq!(ours.json, r#"{"amount":null,"rates":[1.0,null],"shape":{"Tuple":[1,null]},"good":1.5}"#);
        let noted: Vec<String> = ours.unwritable.iter().map(ToString::to_string).collect();
        assert_eq!(
            noted,
            [
                "the value of \"amount\" is NaN, and JSON has no number for that",
                "the value of \"rates\" is infinity, and JSON has no number for that",
                "the value of \"shape\" is -infinity, and JSON has no number for that",
            ]
        );
        let alone = written(&f64::NAN).unwrap();
        assert_eq!(alone.unwritable[0].to_string(), "the value is NaN, and JSON has no number for that");
        let in_list = written(&[f64::NAN]).unwrap();
        assert_eq!(in_list.unwritable[0].member, None);
        let of_variant = written(&Shape::Tuple(1, f64::NAN)).unwrap();
        assert_eq!(of_variant.unwritable[0].member.as_deref(), Some("Tuple"));
    }
}
