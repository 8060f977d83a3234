//! Finds numbers that JSON has no form for: `serde_json` writes `null` for them without a word.

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Serializer};

/// The first number in a value that is infinite or none, and the way to it.
pub(crate) fn first_infinite<T: Serialize + ?Sized>(value: &T) -> Option<String> {
    let Stop { number, mut way } = value.serialize(Look).err()?;
    way.reverse();
    let number = number?;
    Some(if way.is_empty() { number.to_string() } else { format!("{number} at {}", crate::cut(&way.join("."))) })
}

/// Goes through a value, and writes nothing.
struct Look;

/// Why it did not go on.
#[derive(Debug)]
struct Stop {
    /// None if the value itself failed.
    number: Option<f64>,
    /// Names and places, innermost first.
    way: Vec<String>,
}

impl Stop {
    fn within(mut self, step: impl fmt::Display) -> Self {
        self.way.push(step.to_string());
        self
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not finite")
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self { number: None, way: Vec::new() }
    }
}

/// Inside of a list, a map or a struct.
struct Inside {
    variant: Option<&'static str>,
    at: usize,
    key: String,
}

impl Inside {
    const fn of(variant: Option<&'static str>) -> Self {
        Self { variant, at: 0, key: String::new() }
    }

    fn look<T: Serialize + ?Sized>(&self, step: impl fmt::Display, value: &T) -> Result<(), Stop> {
        let found = value.serialize(Look).map_err(|stop| stop.within(step));
        found.map_err(|stop| match self.variant {
            Some(variant) => stop.within(variant),
            None => stop,
        })
    }

    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.at += 1;
        self.look(self.at - 1, value)
    }
}

macro_rules! plain {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Result<(), Stop> {
            Ok(())
        })*
    };
}

impl Serializer for Look {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Inside;
    type SerializeTuple = Inside;
    type SerializeTupleStruct = Inside;
    type SerializeTupleVariant = Inside;
    type SerializeMap = Inside;
    type SerializeStruct = Inside;
    type SerializeStructVariant = Inside;

    plain! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str
    }

    fn serialize_f32(self, number: f32) -> Result<(), Stop> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Stop> {
        if number.is_finite() { Ok(()) } else { Err(Stop { number: Some(number), way: Vec::new() }) }
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        value.serialize(self).map_err(|stop| stop.within(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside, Stop> {
        Ok(Inside::of(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Inside, Stop> {
        Ok(Inside::of(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Inside, Stop> {
        Ok(Inside::of(None))
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, name: &'static str, _: usize) -> Result<Inside, Stop> {
        Ok(Inside::of(Some(name)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside, Stop> {
        Ok(Inside::of(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside, Stop> {
        Ok(Inside::of(None))
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, name: &'static str, _: usize) -> Result<Inside, Stop> {
        Ok(Inside::of(Some(name)))
    }
}

macro_rules! inside {
    ($($part:ident $method:ident),*; $($named:ident),*) => {
        $(impl ser::$part for Inside {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.next(value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
        $(impl ser::$named for Inside {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Stop> {
                self.look(key, value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

inside! {
    SerializeSeq serialize_element, SerializeTuple serialize_element, SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field; SerializeStruct, SerializeStructVariant
}

impl ser::SerializeMap for Inside {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Stop> {
        let text = serde_json::to_string(key).unwrap_or_default();
        text.trim_matches('"').clone_into(&mut self.key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.look(&self.key, value)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}
