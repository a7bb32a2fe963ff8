//! Which keys a campaign file knows and of what type each is. Reading by this
//! list instead of by serde reports every unknown key and every wrong type of a
//! file, not the first.

use super::node::{Entry, Node, Value};
use super::problem::quoted;
use super::{CampaignFile, Problem, nearest};
use serde_json::{Map, Value as Json};

/// What a key takes.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    /// A text, or a date and time that TOML knows by itself.
    Time,
    Integer,
    Flag,
    Table(Keys),
    Tables(Keys),
}

type Keys = &'static [(&'static str, Shape)];

const FILE: Keys = &[
    ("campaign", Shape::Table(CAMPAIGN)),
    ("limits", Shape::Table(LIMITS)),
    ("odds", Shape::Table(ODDS)),
    ("prize", Shape::Tables(PRIZE)),
];

const CAMPAIGN: Keys = &[
    ("slug", Shape::Text),
    ("name", Shape::Text),
    ("time_zone", Shape::Text),
    ("starts_at", Shape::Time),
    ("ends_at", Shape::Time),
];

const LIMITS: Keys = &[
    ("per_user_total", Shape::Integer),
    ("per_user_per_day", Shape::Integer),
    ("campaign_total", Shape::Integer),
];

const ODDS: Keys = &[
    ("on_unavailable", Shape::Text),
    ("fallback", Shape::Text),
    ("nothing_weight", Shape::Integer),
];

const PRIZE: Keys = &[
    ("slug", Shape::Text),
    ("name", Shape::Text),
    ("kind", Shape::Text),
    ("odds", Shape::Text),
    ("weight", Shape::Integer),
    ("stock", Shape::Integer),
    ("daily_cap", Shape::Integer),
    ("per_user_wins", Shape::Integer),
    ("release", Shape::Time),
    ("return_stock", Shape::Flag),
    ("award_id", Shape::Text),
    ("award_type", Shape::Integer),
    ("text", Shape::Text),
    ("codes", Shape::Text),
    ("points", Shape::Integer),
    ("endpoint", Shape::Text),
    ("content", Shape::Text),
    ("claim_within", Shape::Text),
    ("ship_within", Shape::Text),
    ("confirm_within", Shape::Text),
];

/// What the tree says of the keys that are known and of their type, and a
/// problem for each other key, with its byte offset.
pub(super) fn read(root: &Node) -> (CampaignFile, Vec<(Problem, Option<usize>)>) {
    let mut reader = Reader { found: Vec::new() };
    let clean = reader.value(root, Shape::Table(FILE), "", "the file");
    let file = clean.map_or_else(|| Ok(CampaignFile::default()), serde_json::from_value);
    let file = file.unwrap_or_else(|error| {
        debug_assert!(false, "the keys here are those of CampaignFile: {error}");
        let problem = Problem::new("", error.to_string(), "write the keys of the reference");
        reader.found.push((problem, None));
        CampaignFile::default()
    });
    (file, reader.found)
}

struct Reader {
    found: Vec<(Problem, Option<usize>)>,
}

impl Reader {
    /// The value without what is wrong in it; `None` if it is of another type.
    fn value(&mut self, node: &Node, shape: Shape, path: &str, key: &str) -> Option<Json> {
        match (shape, &node.value) {
            (_, Value::Absent) if !path.is_empty() => None,
            (Shape::Text | Shape::Time, Value::Text(text)) | (Shape::Time, Value::Time(text)) => {
                Some(Json::from(text.as_str()))
            }
            (Shape::Integer, Value::Integer(number)) => Some(Json::from(*number)),
            (Shape::Flag, Value::Flag(flag)) => Some(Json::from(*flag)),
            (Shape::Table(keys), Value::Table(entries)) => Some(self.table(entries, keys, path)),
            (Shape::Tables(keys), Value::List(items)) => {
                let tables = items.iter().enumerate().map(|(index, item)| {
                    let item_path = format!("{path}/{index}");
                    self.value(item, Shape::Table(keys), &item_path, key)
                        .unwrap_or_else(|| Json::Object(Map::new()))
                });
                Some(Json::Array(tables.collect()))
            }
            _ => {
                let what = format!(
                    "{} is {}, and has to be {}",
                    tick(key),
                    node.type_name(),
                    shape.name()
                );
                self.found.push((
                    Problem::new(path, what, mend(shape, key, &node.value)),
                    node.offset,
                ));
                None
            }
        }
    }

    fn table(&mut self, entries: &[Entry], keys: Keys, path: &str) -> Json {
        let mut table = Map::new();
        for entry in entries {
            let entry_path = format!("{path}/{}", entry.key.replace('~', "~0").replace('/', "~1"));
            let Some((key, shape)) = keys.iter().find(|(key, _)| *key == entry.key) else {
                self.found
                    .push((unknown(entry, keys, entry_path), entry.offset));
                continue;
            };
            if table.contains_key(*key) {
                let problem =
                    Problem::new(entry_path, format!("`{key}` is given twice"), "keep one");
                self.found.push((problem, entry.offset));
                continue;
            }
            if let Some(value) = self.value(&entry.node, *shape, &entry_path, key) {
                table.insert((*key).to_owned(), value);
            }
        }
        Json::Object(table)
    }
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Time => "a text or a time",
            Self::Integer => "an integer",
            Self::Flag => "true or false",
            Self::Table(_) => "a table",
            Self::Tables(_) => "a list of tables",
        }
    }
}

fn tick(key: &str) -> String {
    if key.contains(' ') {
        key.to_owned()
    } else {
        format!("`{key}`")
    }
}

fn unknown(entry: &Entry, keys: Keys, path: String) -> Problem {
    let what = format!("no key is called {}", quoted(&entry.key));
    let known = || keys.iter().map(|(key, _)| *key);
    let mend = match nearest(&entry.key, known()) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!(
            "the keys here are {}",
            known().collect::<Vec<_>>().join(", ")
        ),
    };
    Problem::new(path, what, mend)
}

fn mend(shape: Shape, key: &str, value: &Value) -> String {
    match (shape, value) {
        (Shape::Text, Value::Integer(number)) if key == "odds" => {
            format!("write it as a percentage in quotes: `odds = \"{number}%\"`")
        }
        (Shape::Text, Value::Other(_)) if key == "odds" => {
            "write it as a percentage in quotes: `odds = \"0.5%\"`".to_owned()
        }
        (Shape::Text, _) => format!("write it in quotes: `{key} = \"…\"`"),
        (Shape::Time, _) => format!("write it like `{key} = \"2026-02-10T00:00:00\"`"),
        (Shape::Integer, _) => format!("write a whole number without quotes, like `{key} = 3`"),
        (Shape::Flag, _) => format!("write `{key} = true` or `{key} = false`, without quotes"),
        (Shape::Tables(_), Value::Table(_)) => {
            format!("write each with two brackets, `[[{key}]]`: a list of tables")
        }
        (Shape::Tables(_), _) => format!("write each as a table of its own, `[[{key}]]`"),
        (Shape::Table(_), _) => format!("write it as a table, `[{key}]`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(keys: Keys) -> Vec<&'static str> {
        keys.iter().map(|(key, _)| *key).collect()
    }

    /// Each section with every key set, so that serde writes all of them.
    #[test]
    fn the_keys_are_those_of_the_structs_in_their_order() {
        let all = |keys: Keys| -> Json {
            let value = |shape: &Shape| match shape {
                Shape::Integer => Json::from(1),
                Shape::Flag => Json::from(true),
                Shape::Text | Shape::Time | Shape::Table(_) | Shape::Tables(_) => Json::from("x"),
            };
            keys.iter()
                .map(|(key, shape)| ((*key).to_owned(), value(shape)))
                .collect()
        };
        let full = Json::Object(Map::from_iter([
            ("campaign".to_owned(), all(CAMPAIGN)),
            ("limits".to_owned(), all(LIMITS)),
            ("odds".to_owned(), all(ODDS)),
            ("prize".to_owned(), Json::Array(vec![all(PRIZE)])),
        ]));
        let file: CampaignFile = serde_json::from_value(full.clone()).unwrap();
        let written = file.to_json();
        assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), full);
        let mut last = 0;
        for key in names(PRIZE) {
            let at = written[written.find("\"prize\"").unwrap()..]
                .find(&format!("\"{key}\":"))
                .unwrap();
            assert!(at >= last, "{key}");
            last = at;
        }
    }
}
