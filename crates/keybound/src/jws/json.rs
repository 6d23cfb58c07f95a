//! Strict JSON: one value, bounded depth and size, no name twice in an object at any depth after escapes are decoded.
//! `serde_json` reads the text; what this adds is the refusal of what a forgiving reader lets through.

use core::cell::Cell;
use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A proof's deepest value is a member of `jwk`; claims of access tokens go a little deeper.
const MAX_DEPTH: u8 = 8;

/// Members and elements in one text. A proof has about ten; access tokens with long role lists have hundreds.
const MAX_VALUES: u32 = 1024;

/// The text is not JSON, or not as strict as we ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonError;

/// One JSON value, borrowing from its text where no escape stands in the way.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    String(Cow<'t, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object; no name stands in it twice.
    Object(Object<'t>),
}

/// A JSON number.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Number {
    /// A whole number that is not negative.
    Whole(u64),
    /// A negative whole number.
    Negative(i64),
    /// Anything else: with a fraction or an exponent, or beyond 64 bits.
    Float(f64),
}

/// The members of a JSON object, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<'t> {
    members: Vec<(Cow<'t, str>, Value<'t>)>,
}

impl<'t> Object<'t> {
    /// Reads one JSON object and nothing after it.
    ///
    /// ```
    /// use keybound::jws::json::Object;
    ///
    /// let header = Object::parse(br#"{"typ":"dpop+jwt","alg":"ES256"}"#)?;
    /// assert_eq!(header.get("alg").and_then(|alg| alg.as_str()), Some("ES256"));
    /// assert!(Object::parse(br#"{"alg":"ES256","\u0061lg":"none"}"#).is_err());
    /// assert!(Object::parse(br#"["alg"]"#).is_err());
    /// # Ok::<(), keybound::jws::json::JsonError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`JsonError`] for anything that is not one strict object: other values, a name twice at any depth, more than 8
    /// levels or 1,024 values, octets before or after, invalid UTF-8, a byte order mark.
    pub fn parse(text: &'t [u8]) -> Result<Self, JsonError> {
        match Value::parse(text)? {
            Value::Object(object) => Ok(object),
            _ => Err(JsonError),
        }
    }

    /// The value of this name.
    pub fn get(&self, name: &str) -> Option<&Value<'t>> {
        self.members.iter().find_map(|(member, value)| (member == name).then_some(value))
    }

    /// Whether the name is there, whatever its value.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and values, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value<'t>)> {
        self.members.iter().map(|(name, value)| (&**name, value))
    }

    /// The same as a value of `serde_json`.
    pub fn to_json(&self) -> serde_json::Map<String, serde_json::Value> {
        self.members.iter().map(|(name, value)| (name.clone().into_owned(), value.to_json())).collect()
    }
}

impl<'t> Value<'t> {
    /// Reads one JSON value and nothing after it.
    ///
    /// # Errors
    ///
    /// [`JsonError`], as [`Object::parse`] says.
    pub fn parse(text: &'t [u8]) -> Result<Self, JsonError> {
        let text = core::str::from_utf8(text).map_err(|_| JsonError)?;
        let budget = Cell::new(MAX_VALUES);
        let mut reader = serde_json::Deserializer::from_str(text);
        let value = Strict { depth: 0, budget: &budget }.deserialize(&mut reader).map_err(|_| JsonError)?;
        reader.end().map_err(|_| JsonError)?;
        Ok(value)
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The object, if it is one.
    pub const fn as_object(&self) -> Option<&Object<'t>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The elements, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) => Some(elements),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The same as a value of `serde_json`.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(Number::Whole(number)) => (*number).into(),
            Self::Number(Number::Negative(number)) => (*number).into(),
            Self::Number(Number::Float(number)) => (*number).into(),
            Self::String(text) => text.clone().into_owned().into(),
            Self::Array(elements) => elements.iter().map(Self::to_json).collect(),
            Self::Object(object) => object.to_json().into(),
        }
    }
}

#[derive(Clone, Copy)]
struct Strict<'b> {
    depth: u8,
    budget: &'b Cell<u32>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_add(1) {
            Some(depth) if depth <= MAX_DEPTH => Ok(Self { depth, ..self }),
            _ => Err(E::custom("too deep")),
        }
    }

    fn spend<E: serde::de::Error>(self) -> Result<(), E> {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => Err(E::custom("too many values")),
        }
    }
}

impl<'t> DeserializeSeed<'t> for Strict<'_> {
    type Value = Value<'t>;

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<Value<'t>, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for Strict<'_> {
    type Value = Value<'t>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'t>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'t>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value<'t>, E> {
        Ok(Value::Number(Number::Whole(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value<'t>, E> {
        Ok(Value::Number(Number::Negative(number)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value<'t>, E> {
        Ok(Value::Number(Number::Float(number)))
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<Value<'t>, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<'t>, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut elements: A) -> Result<Value<'t>, A::Error> {
        let deeper = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = elements.next_element_seed(deeper)? {
            self.spend()?;
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'t>>(self, mut entries: A) -> Result<Value<'t>, A::Error> {
        let deeper = self.deeper()?;
        let mut members: Vec<(Cow<'t, str>, Value<'t>)> = Vec::with_capacity(8);
        while let Some(name) = entries.next_key_seed(Name)? {
            self.spend()?;
            if members.iter().any(|(member, _)| *member == name) {
                return Err(A::Error::custom("a name twice"));
            }
            let value = entries.next_value_seed(deeper)?;
            members.push((name, value));
        }
        Ok(Value::Object(Object { members }))
    }
}

/// A member name: borrowed unless it holds an escape, and compared after escapes are decoded.
struct Name;

impl<'t> DeserializeSeed<'t> for Name {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, reader: D) -> Result<Cow<'t, str>, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Name {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    fn visit_borrowed_str<E>(self, text: &'t str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Cow<'t, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_forgiving_readers_take() {
        let deep = format!("{}1{}", "{\"a\":".repeat(9), "}".repeat(9));
        let many = format!("{{\"a\":[{}1]}}", "1,".repeat(1100));
        for text in [
            "",
            "null",
            "[]",
            "[{}]",
            "1",
            "\"x\"",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":1}",
            "{\"a\":{\"b\":1,\"b\":2}}",
            "{\"a\":[{\"b\":1,\"b\":2}]}",
            "{\"a\":1,}",
            "{a:1}",
            "\u{feff}{}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\u{1}\"}",
            &deep,
            &many,
        ] {
            assert_eq!(Object::parse(text.as_bytes()), Err(JsonError), "{text}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}"), Err(JsonError));
    }

    #[test]
    fn eight_levels_pass() {
        let text = format!("{}1{}", "{\"a\":".repeat(8), "}".repeat(8));
        assert!(Object::parse(text.as_bytes()).is_ok());
    }

    #[test]
    fn escapes_are_decoded_and_plain_text_is_borrowed() {
        let object = Object::parse(b" {\"\\u0061\":\"x\\ny\", \"b\": -1, \"c\": 1.5} ").unwrap();
        assert_eq!(object.get("a").and_then(Value::as_str), Some("x\ny"));
        assert_eq!(object.get("b"), Some(&Value::Number(Number::Negative(-1))));
        assert_eq!(object.get("c"), Some(&Value::Number(Number::Float(1.5))));
        assert!(matches!(Object::parse(b"{\"a\":\"x\"}").unwrap().get("a"), Some(Value::String(Cow::Borrowed("x")))));
    }
}
