//! How the Orchestrator writes an enumeration: a name and a documented number.
//!
//! By orchestrator-api 12.2 the wire carries names, filters and old payloads carry numbers, and a reader
//! accepts the name in any case.

/// A name or number that an enumeration does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {enumeration}; it is one of {expected}")]
pub struct UnknownValue {
    enumeration: &'static str,
    value: String,
    expected: String,
}

impl UnknownValue {
    #[doc(hidden)] // for `enumeration!`
    pub fn new(enumeration: &'static str, value: String, names: &[&str]) -> Self {
        Self { enumeration, value, expected: names.join(", ") }
    }
}

/// Declares an enumeration with its documented numbers, and everything that follows from them.
#[doc(hidden)]
#[macro_export]
macro_rules! enumeration {
    (
        $(#[$meta:meta])*
        $vis:vis $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $number:literal, )+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $( $(#[$variant_meta])* $variant = $number, )+ }

        impl $name {
            /// Every value, in the order of the numbers.
            $vis const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// The documented number.
            $vis const fn number(self) -> u8 {
                self as u8
            }

            /// The documented name, as the wire spells it.
            $vis const fn name(self) -> &'static str {
                match self { $( Self::$variant => stringify!($variant), )+ }
            }

            /// The value with this number.
            ///
            /// # Errors
            ///
            /// [`UnknownValue`](crate::model::UnknownValue) when no value has it.
            $vis fn from_number(number: i64) -> Result<Self, $crate::model::UnknownValue> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| i64::from(value.number()) == number)
                    .ok_or_else(|| Self::unknown(number.to_string()))
            }

            fn unknown(value: String) -> $crate::model::UnknownValue {
                let names: Vec<&str> = Self::ALL.iter().map(|value| value.name()).collect();
                $crate::model::UnknownValue::new(stringify!($name), value, &names)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::model::UnknownValue;

            /// Takes the name in any case, or the number.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                if let Ok(number) = text.parse::<i64>() {
                    return Self::from_number(number);
                }
                Self::ALL
                    .iter()
                    .copied()
                    .find(|value| value.name().eq_ignore_ascii_case(text))
                    .ok_or_else(|| Self::unknown(text.to_owned()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct NameOrNumber;
                impl serde::de::Visitor<'_> for NameOrNumber {
                    type Value = $name;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("the name or the number of a ", stringify!($name)))
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<$name, E> {
                        $name::from_number(number).map_err(E::custom)
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$name, E> {
                        $name::from_number(i64::try_from(number).unwrap_or(i64::MAX)).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(NameOrNumber)
            }
        }
    };
}
