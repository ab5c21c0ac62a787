//! Case-insensitive member names (orchestrator-api 4.2): `itemdata` and `ItemData` mean `itemData`.
//!
//! [`AnyCase`] wraps a deserializer. Structs declare their members, and a name that differs from one of them only in case is
//! replaced by it. Maps declare none, so names in SpecificContent, Output and Analytics are not changed.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// A deserializer with case-insensitive names in structs at every level.
pub(super) struct AnyCase<D>(pub(super) D);

/// Wraps the visitors, seeds and accesses of an [`AnyCase`], with the declared names.
struct Reader<T> {
    inner: T,
    names: &'static [&'static str],
}

fn unnamed<T>(inner: T) -> Reader<T> {
    Reader { inner, names: &[] }
}

macro_rules! handed_on {
    ($($method:ident $(($argument:ident: $type:ty))*,)*) => {
        $(fn $method<V: Visitor<'de>>(self, $($argument: $type,)* visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method($($argument,)* unnamed(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for AnyCase<D> {
    type Error = D::Error;

    handed_on! {
        deserialize_any, deserialize_bool, deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64,
        deserialize_i128, deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64, deserialize_u128,
        deserialize_f32, deserialize_f64, deserialize_char, deserialize_str, deserialize_string, deserialize_bytes,
        deserialize_byte_buf, deserialize_option, deserialize_unit, deserialize_unit_struct(name: &'static str),
        deserialize_newtype_struct(name: &'static str), deserialize_seq, deserialize_tuple(length: usize),
        deserialize_tuple_struct(name: &'static str)(length: usize), deserialize_map, deserialize_identifier,
        deserialize_ignored_any,
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, names, Object(Reader { inner: visitor, names }))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, names, Reader { inner: visitor, names })
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! visited {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Reader<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visited! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128, visit_u8: u8,
        visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(AnyCase(deserializer))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(AnyCase(deserializer))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_seq(unnamed(access))
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Reader { inner: access, names: self.names })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(Reader { inner: access, names: self.names })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Reader<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(AnyCase(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Reader<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.inner.next_element_seed(unnamed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Reader<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        if self.names.is_empty() {
            return self.inner.next_key_seed(seed);
        }
        self.inner.next_key_seed(Name(Reader { inner: seed, names: self.names }))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(unnamed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Reader<A> {
    type Error = A::Error;
    type Variant = Reader<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let seed = Name(Reader { inner: seed, names: self.names });
        let (value, variant) = self.inner.variant_seed(seed)?;
        Ok((value, unnamed(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Reader<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.newtype_variant_seed(unnamed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.inner.tuple_variant(length, unnamed(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.inner.struct_variant(names, Object(Reader { inner: visitor, names }))
    }
}

/// A struct is an object. A list of values in the order of its members, which serde reads too, is none: nobody sends it on
/// purpose, and it would mean something else with the next version.
struct Object<V>(Reader<V>);

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(access)
    }
}

/// The name of a member, or of a variant.
struct Name<T>(Reader<T>);

impl<T> Name<T> {
    /// The declared name that equals this one in another case. `None`: it is equal already, or unknown.
    fn known(&self, name: &str) -> Option<&'static str> {
        let names = self.0.names;
        if names.contains(&name) {
            return None; // unchanged
        }
        names.iter().find(|known| known.eq_ignore_ascii_case(name)).copied()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Name<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.deserialize(Name(Reader { inner: deserializer, names }))
    }
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Name<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.deserialize_any(Name(Reader { inner: visitor, names }))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.deserialize_identifier(Name(Reader { inner: visitor, names }))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.deserialize_newtype_struct(name, Name(Reader { inner: visitor, names }))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.deserialize_str(Name(Reader { inner: visitor, names }))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_str(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct enum ignored_any
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Name<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.inner.expecting(f)
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<V::Value, E> {
        match self.known(name) {
            Some(known) => self.0.inner.visit_str(known),
            None => self.0.inner.visit_str(name),
        }
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<V::Value, E> {
        match self.known(name) {
            Some(known) => self.0.inner.visit_str(known),
            None => self.0.inner.visit_borrowed_str(name),
        }
    }

    fn visit_string<E: Error>(self, name: String) -> Result<V::Value, E> {
        match self.known(&name) {
            Some(known) => self.0.inner.visit_str(known),
            None => self.0.inner.visit_string(name),
        }
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let Reader { inner, names } = self.0;
        inner.visit_newtype_struct(Name(Reader { inner: deserializer, names }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Item {
        name: String,
        specific_content: Option<Map>,
        parts: Option<Vec<Part>>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Map(BTreeMap<String, Value>);

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Part {
        One,
        NewType(u8),
        Tuple(u8, Option<char>),
        Struct { defer_date: Option<u8> },
    }

    fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, serde_json::Error> {
        T::deserialize(AnyCase(&mut serde_json::Deserializer::from_str(json)))
    }

    #[test]
    fn struct_names_are_case_insensitive_and_map_names_are_unchanged() {
        let item = || Item {
            name: "n".to_owned(),
            specific_content: Some(Map(BTreeMap::from([(
                "Name".to_owned(),
                json!({"sPeCific": [1.5, null]}),
            )]))),
            parts: Some(vec![
                Part::One,
                Part::NewType(1),
                Part::Tuple(2, Some('c')),
                Part::Struct { defer_date: Some(3) },
            ]),
        };
        for json in [
            r#"{"Name":"n","SpecificContent":{"Name":{"sPeCific":[1.5,null]}},"Parts":["one",{"newType":1},{"tuple":[2,"c"]},{"struct":{"defer_date":3}}]}"#,
            r#"{"name":"n","specificContent":{"Name":{"sPeCific":[1.5,null]}},"parts":["One",{"newtype":1},{"TUPLE":[2,"c"]},{"Struct":{"Defer_Date":3}}]}"#,
            r#"{"PARTS":["ONE",{"NewType":1},{"Tuple":[2,"c"]},{"STRUCT":{"DEFER_DATE":3,"more":[{}]}}],"NAM\u0045":"n","other":1,"SPECIFICCONTENT":{"Name":{"sPeCific":[1.5,null]}}}"#,
        ] {
            assert_eq!(read::<Item>(json).unwrap(), item(), "{json}");
        }
        assert!(
            read::<Item>(r#"{"Name":"n","name":"m"}"#)
                .unwrap_err()
                .to_string()
                .contains("duplicate field `Name`")
        );
        assert!(read::<Item>(r#"{"Nam":"n"}"#).unwrap_err().to_string().contains("missing field `Name`"));
        assert!(read::<Item>(r#"{"name":7}"#).unwrap_err().to_string().contains("line 1 column"));
        assert!(read::<Part>(r#""two""#).is_err());
    }

    #[test]
    fn a_list_is_no_struct() {
        #[derive(Debug, Deserialize)]
        struct Nothing {}
        for list in ["[]", "[1]"] {
            assert!(
                read::<Nothing>(list).unwrap_err().to_string().contains("invalid type: sequence"),
                "{list}"
            );
        }
        assert!(read::<Nothing>("{}").is_ok());
        assert!(read::<Item>(r#"["n",null,null]"#).is_err());
        assert!(read::<Part>(r#"{"struct":[3]}"#).is_err());
        assert!(read::<Item>(r#"{"name":"n","parts":[{"struct":[null]}]}"#).is_err());
    }

    #[test]
    fn other_types_are_read_unchanged() {
        assert_eq!(read::<Value>(r#"{"A":1,"a":[2,"é\n"]}"#).unwrap(), json!({"A": 1, "a": [2, "é\n"]}));
        assert!(read::<BTreeMap<i32, bool>>(r#"{"1":true}"#).unwrap()[&1]);
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow)]
            raw: &'a RawValue,
            text: &'a str,
        }
        let raw: Raw<'_> = read(r#"{"RAW": 1e400, "Text": "t"}"#).unwrap();
        assert_eq!((raw.raw.get(), raw.text), ("1e400", "t"));
        assert_eq!(read::<(u8, i64, f64, (), String)>(r#"[1,-1,0.5,null,"x"]"#).unwrap().3, ());
    }
}
