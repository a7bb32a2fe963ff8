//! What differs between two campaign files: key by key, prizes by their slugs.

use serde_json::Value;
use std::collections::BTreeMap;
use tombola_core::campaign::CampaignFile;

/// One difference.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(super) struct Difference {
    /// The key, such as `prize.phone.stock`.
    pub(super) key: String,
    /// What the campaign has.
    pub(super) campaign: Option<Value>,
    /// What the file has.
    pub(super) file: Option<Value>,
}

impl Difference {
    /// As `diff` prints it: a line that goes, a line that comes.
    pub(super) fn lines(&self) -> String {
        let line = |sign: char, value: &Option<Value>| {
            let value = value.as_ref()?;
            Some(format!("{sign} {} = {value}", self.key))
        };
        let lines = [line('-', &self.campaign), line('+', &self.file)];
        lines.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }
}

/// What differs, in the order of the keys.
pub(super) fn differences(campaign: &CampaignFile, file: &CampaignFile) -> Vec<Difference> {
    let (before, after) = (keys_of(campaign), keys_of(file));
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .map(|key| Difference {
            key: key.clone(),
            campaign: before.get(key).cloned(),
            file: after.get(key).cloned(),
        })
        .filter(|it| it.campaign != it.file)
        .collect()
}

fn keys_of(file: &CampaignFile) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    if let Ok(value) = serde_json::from_str(&file.to_json()) {
        flatten("", &value, &mut keys);
    }
    keys
}

fn flatten(key: &str, value: &Value, keys: &mut BTreeMap<String, Value>) {
    let below = |name: &str| match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    };
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                flatten(&below(name), member, keys);
            }
        }
        Value::Array(members) => {
            for (place, member) in members.iter().enumerate() {
                let slug = member.get("slug").and_then(Value::as_str);
                let name = slug.map_or_else(|| place.to_string(), str::to_owned);
                flatten(&below(&name), member, keys);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            keys.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tombola_core::campaign::parse_toml;

    const FILE: &str = "[campaign]\nslug = \"a\"\nname = \"A\"\n\
        [[prize]]\nslug = \"p\"\nname = \"P\"\nkind = \"text\"\ntext = \"t\"\nodds = \"10%\"\n";

    #[test]
    fn differences_are_named_by_key_and_prize_whatever_their_order() {
        let before = parse_toml("before", FILE).unwrap();
        assert_eq!(differences(&before, &before), []);
        let more =
            "[[prize]]\nslug = \"q\"\nname = \"Q\"\nkind = \"points\"\npoints = 3\nodds = \"1%\"\n";
        let changed =
            FILE.replace("10%", "20%")
                .replacen("[[prize]]", &format!("{more}[[prize]]"), 1);
        let after = parse_toml("after", &changed).unwrap();
        let found = differences(&before, &after);
        let keys: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "prize.p.odds",
                "prize.q.kind",
                "prize.q.name",
                "prize.q.odds",
                "prize.q.points",
                "prize.q.slug"
            ]
        );
        assert_eq!(
            found[0].lines(),
            "- prize.p.odds = \"10%\"\n+ prize.p.odds = \"20%\""
        );
        assert_eq!(found[1].lines(), "+ prize.q.kind = \"points\"");
    }
}
