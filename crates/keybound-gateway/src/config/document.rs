//! Prints what the table of keys holds: the documented default file, and the JSON Schema for editors.

use core::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::keys::{self, Absent, KEYS, Key, Kind, SECTIONS, Section};

/// A configuration file with every setting, its meaning and its default. It can be used as it is.
pub fn default_text() -> String {
    let mut text = String::from(
        "# Configuration of keybound serve: every setting, its meaning and its default.\n\
         # Settings behind a # are not set; what stands there is an example.\n\
         # The environment goes before this file: KEYBOUND_PROOF_NONCE sets nonce of [proof], and so on for each setting of a\n\
         # table that stands once; lists with commas between. Flags go before both. Paths are relative to this file.\n",
    );
    for section in SECTIONS {
        print_section(&mut text, section);
    }
    text
}

fn print_section(text: &mut String, section: &Section) {
    let mark = if section.optional { "#" } else { "" };
    let header = if section.repeated { format!("[[{}]]", section.path) } else { format!("[{}]", section.path) };
    text.push('\n');
    comment(text, section.doc);
    let _ = writeln!(text, "{mark}{header}");
    for key in KEYS.iter().filter(|key| keys::is_in(key.path, section.path)) {
        print_key(text, key, mark);
    }
}

fn print_key(text: &mut String, key: &Key, mark: &str) {
    comment(text, key.doc);
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    match key.absent {
        Absent::Is(value) | Absent::Required(value) | Absent::Expected(value) => {
            let _ = writeln!(text, "{mark}{name} = {value}");
        }
        Absent::ByPreset { default, fapi, mcp } => {
            let others = [("fapi", fapi), ("mcp", mcp)].into_iter().filter(|(_, value)| *value != default);
            let others: Vec<_> = others.map(|(preset, value)| format!(", with {preset} {value}")).collect();
            comment(text, &format!("By proof.preset: as here{}.", others.concat()));
            let _ = writeln!(text, "#{name} = {default}");
        }
        Absent::Unset(example) => {
            let _ = writeln!(text, "#{name} = {example}");
        }
    }
}

fn comment(text: &mut String, doc: &str) {
    for line in doc.lines() {
        let _ = writeln!(text, "# {line}");
    }
}

/// The JSON Schema (draft 2020-12) of the configuration file.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "keybound serve",
        "type": "object",
        "additionalProperties": false,
        "properties": tables_in(""),
    })
}

/// The schema of every table directly inside the one at `path`.
fn tables_in(path: &str) -> Map<String, Value> {
    let inside = SECTIONS.iter().filter(|section| match section.path.rsplit_once('.') {
        Some((parent, _)) => parent == path,
        None => path.is_empty(),
    });
    inside.map(|section| (last(section.path).to_owned(), section_schema(section))).collect()
}

fn section_schema(section: &Section) -> Value {
    let own = || KEYS.iter().filter(|key| keys::is_in(key.path, section.path));
    let mut properties = tables_in(section.path);
    properties.extend(own().map(|key| (last(key.path).to_owned(), key_schema(key))));
    let required: Vec<&str> =
        own().filter(|key| matches!(key.absent, Absent::Required(_))).map(|key| last(key.path)).collect();
    let table = json!({
        "type": "object",
        "description": section.doc.replace('\n', " "),
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    });
    if section.repeated { json!({ "type": "array", "items": table }) } else { table }
}

fn key_schema(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+ *(ms|s|m|h|d)$" }),
        Kind::Size => json!({ "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)$" }),
        Kind::Count { least, most } => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Choice(choices) => json!({ "enum": choices }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Algorithms => {
            let names: Vec<_> = keybound::crypto::AlgSet::ALL.iter().map(keybound::crypto::Alg::name).collect();
            json!({ "type": "array", "items": { "enum": names }, "minItems": 1 })
        }
        Kind::Table => json!({ "type": "object" }),
    };
    schema["description"] = key.doc.replace('\n', " ").into();
    if let Absent::Is(value) = key.absent {
        schema["default"] = plain(&super::source::literal(value).value);
    }
    schema
}

fn plain(value: &super::source::Value) -> Value {
    use super::source::Value as Written;
    match value {
        Written::Text(text) => text.as_str().into(),
        Written::Integer(number) => (*number).into(),
        Written::Flag(flag) => (*flag).into(),
        Written::List(items) => items.iter().map(|item| plain(&item.value)).collect(),
        Written::Table(_) | Written::Other(_) => Value::Null,
    }
}

fn last(path: &'static str) -> &'static str {
    path.rsplit('.').next().unwrap_or(path)
}
